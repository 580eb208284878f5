"""The ONNX twin: the fitted trees as one graph of 64-bit floats.

The thresholds stay the doubles that scikit-learn splits by, and both sum a row's leaves in
doubles; a graph of 32-bit floats rounds thresholds and sends rows near them the other way.
scikit-learn has no public way to its trees, so this reads `_predictors`, which the image's
lock pins and the check of every trained twin guards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from containers.trainer import Estimator

INPUT: Final = "features"
OUTPUT: Final = "prediction"
_TREES_OPSET: Final = 5
_OPSET: Final = 21
_IR_VERSION: Final = 10
_SUM: Final = 1
_LESS_OR_EQUAL: Final = 0


def tree_graph(estimator: Estimator, width: int) -> bytes:
    """Return the ONNX model of `estimator`, which was fitted on `width` features.

    Input `features`: doubles (rows, width), NaN for missing. Output `prediction`: doubles; the
    values (rows, 1) of a regression, the probability of the second class (rows, 1) of two, or
    the probabilities (rows, classes) of more.
    """
    from onnx import TensorProto, checker, helper

    trees, outputs = _trees(estimator)
    nodes = [helper.make_node("TreeEnsemble", [INPUT], ["raw"], domain="ai.onnx.ml", **trees)]
    if not hasattr(estimator, "classes_"):
        nodes.append(helper.make_node("Identity", ["raw"], [OUTPUT]))
    # The ensemble's own post_transform is none of these: onnxruntime gives other numbers.
    elif outputs == 1:
        nodes.append(helper.make_node("Sigmoid", ["raw"], [OUTPUT]))
    else:
        nodes.append(helper.make_node("Softmax", ["raw"], [OUTPUT], axis=1))
    double = TensorProto.DOUBLE
    graph = helper.make_graph(
        nodes,
        "trees",
        [helper.make_tensor_value_info(INPUT, double, [None, width])],
        [helper.make_tensor_value_info(OUTPUT, double, [None, outputs])],
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _TREES_OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    checker.check_model(model)
    serialized: bytes = model.SerializeToString()
    return serialized


def _trees(estimator: Estimator) -> tuple[dict[str, Any], int]:
    """Return the attributes of TreeEnsemble and the number of outputs."""
    from onnx import numpy_helper

    baseline = np.asarray(estimator._baseline_prediction, dtype=np.float64).ravel()
    inner: list[npt.NDArray[Any]] = []
    leaves: list[npt.NDArray[np.float64]] = []
    targets: list[npt.NDArray[np.int64]] = []
    branches: list[npt.NDArray[np.int64]] = []
    roots: list[int] = []
    first_inner = first_leaf = 0
    for iteration, predictors in enumerate(estimator._predictors):
        for output, predictor in enumerate(predictors):
            nodes = predictor.nodes
            leaf = nodes["is_leaf"].astype(bool)
            # TreeEnsemble has no constant term: the first tree's leaves carry it.
            leaves.append(nodes["value"][leaf] + (baseline[output] if iteration == 0 else 0.0))
            targets.append(np.full(leaves[-1].size, output))
            roots.append(first_inner)
            # Each node's place among the inner nodes or among the leaves of all trees.
            place = np.where(
                leaf, first_leaf + np.cumsum(leaf) - 1, first_inner + np.cumsum(~leaf) - 1
            )
            # A tree of one leaf is written as a node with that leaf on both sides.
            kept = nodes[~leaf] if leaf.size > 1 else nodes
            left, right = kept["left"], kept["right"]
            inner.append(kept)
            branches.append(np.stack([place[left], leaf[left], place[right], leaf[right]]))
            first_inner += kept.size
            first_leaf += leaves[-1].size
    node = np.concatenate(inner)
    true_id, true_leaf, false_id, false_leaf = np.concatenate(branches, axis=1).tolist()
    modes = np.full(node.size, _LESS_OR_EQUAL, dtype=np.uint8)
    attributes = {
        "n_targets": baseline.size,
        "aggregate_function": _SUM,
        "tree_roots": roots,
        "nodes_featureids": node["feature_idx"].tolist(),
        "nodes_splits": numpy_helper.from_array(node["num_threshold"].astype(np.float64)),
        "nodes_modes": numpy_helper.from_array(modes),
        "nodes_missing_value_tracks_true": node["missing_go_to_left"].tolist(),
        "nodes_truenodeids": true_id,
        "nodes_trueleafs": true_leaf,
        "nodes_falsenodeids": false_id,
        "nodes_falseleafs": false_leaf,
        "leaf_weights": numpy_helper.from_array(np.concatenate(leaves)),
        "leaf_targetids": np.concatenate(targets).tolist(),
    }
    return attributes, baseline.size
