"""Gradient-boosted trees over features: trained by LightGBM, written as an ONNX graph."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from zsds_tasks.training.configuration import TreesConfig

Floats = NDArray[np.float32]
OPSET, ML_OPSET, IR_VERSION = 17, 3, 8


def train_trees(
    train: tuple[Floats, NDArray[np.bool_], NDArray[np.float64]],
    validation: tuple[Floats, NDArray[np.bool_], NDArray[np.float64]],
    config: TreesConfig,
) -> Any:
    """Return a LightGBM booster, stopped where the validation seeds gain no more.

    Parameters
    ----------
    train, validation : (features (n, f), is_real (n), weight (n))
    config : TreesConfig
    """
    random = np.random.default_rng(config.seed)
    features = train[0].copy()
    features[random.random(features.shape) < config.forgotten_share] = np.nan
    data = lightgbm.Dataset(features, train[1].astype(np.float32), weight=train[2], free_raw_data=False)
    other = lightgbm.Dataset(
        validation[0], validation[1].astype(np.float32), weight=validation[2], reference=data
    )
    options = {
        "objective": "binary",
        "num_leaves": config.leaves,
        "learning_rate": config.learning_rate,
        "min_data_in_leaf": config.least_rows,
        "feature_fraction": config.feature_share,
        "bagging_fraction": config.row_share,
        "bagging_freq": 1,
        "seed": config.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }
    stop = lightgbm.early_stopping(config.patience, verbose=False)
    return lightgbm.train(options, data, config.trees, valid_sets=[other], callbacks=[stop])


def trees_to_onnx(booster: Any) -> bytes:
    """Return the booster as an ONNX graph: (n, f) float32 -> (n, 1) probability.

    Thresholds of LightGBM are float64 and its rule is x <= t; rounding t down to float32 keeps the rule for
    every float32 x.
    """
    dump = booster.dump_model(num_iteration=booster.best_iteration or None)
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes",
            "nodes_truenodeids", "nodes_falsenodeids", "nodes_missing_value_tracks_true",
            "target_treeids", "target_nodeids", "target_ids", "target_weights",
        )
    }  # fmt: skip
    for number, tree in enumerate(dump["tree_info"]):
        _add_node(tree["tree_structure"], number, columns, [0])
    n_features = int(dump["max_feature_idx"]) + 1
    ensemble = helper.make_node(
        "TreeEnsembleRegressor", ["features"], ["margin"], domain="ai.onnx.ml", n_targets=1,
        aggregate_function="SUM", post_transform="NONE", **columns,
    )  # fmt: skip
    graph = helper.make_graph(
        [ensemble, helper.make_node("Sigmoid", ["margin"], ["probability"])],
        "real_bogus_trees",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", n_features])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["n", 1])],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="zsds")
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _add_node(node: dict[str, Any], tree: int, columns: dict[str, list[Any]], count: list[int]) -> int:
    """Append a node and all below it; return its number in the tree."""
    number = count[0]
    count[0] += 1
    row = len(columns["nodes_nodeids"])
    is_leaf = "leaf_value" in node
    entry = {
        "nodes_treeids": tree,
        "nodes_nodeids": number,
        "nodes_featureids": 0 if is_leaf else int(node["split_feature"]),
        "nodes_values": 0.0 if is_leaf else _rounded_down(float(node["threshold"])),
        "nodes_modes": "LEAF" if is_leaf else "BRANCH_LEQ",
        "nodes_truenodeids": 0,
        "nodes_falsenodeids": 0,
        "nodes_missing_value_tracks_true": 0 if is_leaf else int(_missing_goes_left(node)),
    }
    for name, value in entry.items():
        columns[name].append(value)
    if is_leaf:
        leaf = {"target_treeids": tree, "target_nodeids": number, "target_ids": 0,
                "target_weights": float(node["leaf_value"])}  # fmt: skip
        for name, value in leaf.items():
            columns[name].append(value)
        return number
    columns["nodes_truenodeids"][row] = _add_node(node["left_child"], tree, columns, count)
    columns["nodes_falsenodeids"][row] = _add_node(node["right_child"], tree, columns, count)
    return number


def _missing_goes_left(node: dict[str, Any]) -> bool:
    """Where LightGBM sends NaN: by its default if it saw any, else as a zero."""
    if node["missing_type"] == "NaN":
        return bool(node["default_left"])
    return bool(float(node["threshold"]) >= 0.0)


def _rounded_down(value: float) -> float:
    limit = float(np.finfo(np.float32).max)  # splits off what is unknown have thresholds of 1e300
    value = min(max(value, -limit), limit)
    near = np.float32(value)
    return float(np.nextafter(near, np.float32(-np.inf)) if float(near) > value else near)
