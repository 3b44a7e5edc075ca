"""The network as an ONNX graph: (n, 3, 63, 63) float32 -> (n, 1) probability."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from zsds_tasks.science.realbogus.triplets import N_CHANNELS, SIZE
from zsds_tasks.training.network import LEAST_SCALE, Parameters, layers
from zsds_tasks.training.trees import IR_VERSION, OPSET


def network_to_onnx(weights: Parameters) -> bytes:
    """Return the network, weights and all.

    ONNX has channels first: kernels are turned from (k, k, in, out) to (out, in, k, k), and what is
    flattened is turned back to channels last, so that the dense layer is the trained one.
    """
    constants = [_constant("least_scale", np.array(LEAST_SCALE, np.float32))]
    nodes = [
        helper.make_node("Abs", ["triplets"], ["size"]),
        helper.make_node("Sqrt", ["size"], ["roots"]),
        helper.make_node("ReduceMean", ["roots"], ["root"], axes=[2, 3], keepdims=1),
        helper.make_node("Mul", ["root", "root"], ["square"]),
        helper.make_node("Max", ["square", "least_scale"], ["scale"]),
        helper.make_node("Div", ["triplets", "scale"], ["scaled"]),
        helper.make_node("Asinh", ["scaled"], ["x0"]),
    ]
    name = "x0"
    for k, (stride, pooled) in enumerate(layers()):
        kernel = np.ascontiguousarray(np.transpose(np.asarray(weights[f"w{k}"]), (3, 2, 0, 1)))
        constants += [_constant(f"w{k}", kernel), _constant(f"b{k}", weights[f"b{k}"])]
        nodes.append(helper.make_node("Conv", [name, f"w{k}", f"b{k}"], [f"c{k}"], strides=[stride, stride]))
        nodes.append(helper.make_node("Relu", [f"c{k}"], [f"r{k}"]))
        name = f"r{k}"
        if pooled:
            nodes.append(helper.make_node("MaxPool", [name], [f"p{k}"], kernel_shape=[2, 2], strides=[2, 2]))
            name = f"p{k}"
    nodes.append(helper.make_node("Transpose", [name], ["last"], perm=[0, 2, 3, 1]))
    nodes.append(helper.make_node("Flatten", ["last"], ["flat"], axis=1))
    constants += [_constant(f"{v}_{n}", weights[f"{v}_{n}"]) for v in "wb" for n in ("hidden", "out")]
    nodes += [
        helper.make_node("Gemm", ["flat", "w_hidden", "b_hidden"], ["h"]),
        helper.make_node("Relu", ["h"], ["hr"]),
        helper.make_node("Gemm", ["hr", "w_out", "b_out"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    shape = ["n", N_CHANNELS, SIZE, SIZE]
    graph = helper.make_graph(
        nodes,
        "real_bogus_network",
        [helper.make_tensor_value_info("triplets", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", 1])],
        initializer=constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="zsds"
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _constant(name: str, values: Any) -> Any:
    return numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)
