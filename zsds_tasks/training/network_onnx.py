"""The network as an ONNX graph: (n, 3, 63, 63) float32 -> (n, 1) probability."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from zsds_tasks.science.realbogus.triplets import N_CHANNELS, SIZE
from zsds_tasks.training.network import COARSE, LEAST_SCALE, MIDDLE, POOL, POOLED, Parameters
from zsds_tasks.training.trees import IR_VERSION, OPSET

ROWS, COLUMNS = 2, 3
"""Axes of images; channels come first in ONNX."""


def network_to_onnx(weights: Parameters) -> bytes:
    """Return the network, weights and all.

    ONNX has channels first: kernels are turned from (k, k, in, out) to (out, in, k, k), and what is
    flattened is turned back to channels last, so that the dense layer is the trained one.
    """
    nodes, constants = _in_noise()
    ends = []
    for branch in POOLED:
        name = branch
        for k, pooled in enumerate(POOLED[branch]):
            w, b, c = f"w_{branch}{k}", f"b_{branch}{k}", f"c_{branch}{k}"
            constants += [
                _constant(w, np.transpose(np.asarray(weights[w]), (3, 2, 0, 1))), _constant(b, weights[b])
            ]  # fmt: skip
            nodes += [helper.make_node("Conv", [name, w, b], [c]), helper.make_node("Relu", [c], [f"{c}r"])]
            name = f"{c}r"
            if pooled:
                nodes.append(_pool("MaxPool", name, f"{c}p", POOL))
                name = f"{c}p"
        nodes.append(helper.make_node("Transpose", [name], [f"{branch}_last"], perm=[0, 2, 3, 1]))
        nodes.append(helper.make_node("Flatten", [f"{branch}_last"], [f"{branch}_flat"], axis=1))
        ends.append(f"{branch}_flat")
    constants += [_constant(f"{v}_{n}", weights[f"{v}_{n}"]) for v in "wb" for n in ("hidden", "out")]
    nodes += [
        helper.make_node("Concat", ends, ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "w_hidden", "b_hidden"], ["h"]),
        helper.make_node("Relu", ["h"], ["hr"]),
        helper.make_node("Gemm", ["hr", "w_out", "b_out"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "real_bogus_network",
        [helper.make_tensor_value_info("triplets", TensorProto.FLOAT, ["n", N_CHANNELS, SIZE, SIZE])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", 1])],
        initializer=constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="zsds"
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _in_noise() -> tuple[list[Any], list[Any]]:
    """Return what brings stamps to the scale of their noise and hands each branch its part."""
    constants = [_constant("one", np.float32(1.0)), _constant("least_scale", LEAST_SCALE)]
    constants += [_integers("first", MIDDLE[0], MIDDLE[0]), _integers("after", MIDDLE[1], MIDDLE[1])]
    constants += [_integers("spatial", ROWS, COLUMNS)]
    nodes = [
        helper.make_node("Abs", ["triplets"], ["size"]),
        helper.make_node("Sign", ["size"], ["there"]),
        helper.make_node("Sub", ["one", "there"], ["absent"]),
        helper.make_node("Add", ["size", "absent"], ["filled"]),
        helper.make_node("Log", ["filled"], ["logs"]),
        helper.make_node("ReduceSum", ["logs", "spatial"], ["sum"], keepdims=1),
        helper.make_node("ReduceSum", ["there", "spatial"], ["count"], keepdims=1),
        helper.make_node("Max", ["count", "one"], ["some"]),
        helper.make_node("Div", ["sum", "some"], ["mean"]),
        helper.make_node("Exp", ["mean"], ["level"]),
        helper.make_node("Max", ["level", "least_scale"], ["scale"]),
        helper.make_node("Div", ["size", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "one"], ["more"]),
        helper.make_node("Log", ["more"], ["bent"]),
        helper.make_node("Sign", ["triplets"], ["sign"]),
        helper.make_node("Mul", ["sign", "bent"], ["x"]),
        helper.make_node("Slice", ["x", "first", "after", "spatial"], ["near"]),
        _pool("AveragePool", "x", "means", COARSE),
        _pool("MaxPool", "x", "highest", COARSE),
        helper.make_node("Concat", ["means", "highest"], ["wide"], axis=1),
    ]
    return nodes, constants


def _pool(kind: str, name: str, into: str, side: int) -> Any:
    return helper.make_node(kind, [name], [into], kernel_shape=[side, side], strides=[side, side])


def _constant(name: str, values: Any) -> Any:
    return numpy_helper.from_array(np.array(values, np.float32, order="C"), name)


def _integers(name: str, *values: int) -> Any:
    array: NDArray[np.int64] = np.array(values, np.int64)
    return numpy_helper.from_array(array, name)
