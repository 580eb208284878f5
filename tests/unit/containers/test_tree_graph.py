"""The ONNX twin answers as the estimator does, to the last bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from containers.artefact import Artefact, Metadata
from containers.tree_graph import tree_graph


def artefact(estimator: Any, width: int, classes: int = 0) -> Artefact:
    problem = "regression" if not classes else "multiclass"
    metadata = Metadata("m", problem, "y", (), tuple(range(classes)), {})
    return Artefact(metadata, tree_graph(estimator, width))


def rows(seed: int, count: int = 3000) -> npt.NDArray[np.float64]:
    chance = np.random.default_rng(seed)
    features = np.column_stack(
        [
            chance.integers(0, 30, count),
            chance.normal(size=count),
            chance.normal(size=count) * 1e9,
            1.7e9 + chance.random(count),  # Differ only beyond what 32 bits keep.
            np.full(count, 7.0),
        ]
    )
    features[chance.random(features.shape) < 0.1] = np.nan
    return features


def test_a_regression_agrees_exactly_where_32_bits_would_not() -> None:
    train, test = rows(0), rows(1)
    target = np.nan_to_num(train[:, 0]) + 100 * np.nan_to_num(train[:, 3] % 1)
    estimator = HistGradientBoostingRegressor(random_state=0).fit(train, target)
    # A row on each threshold, and the nearest to either side of it, is the hardest case.
    nodes = np.concatenate([tree[0].nodes for tree in estimator._predictors])
    inner = nodes[nodes["is_leaf"] == 0]
    edges = np.repeat(test[:1], inner.size * 3, axis=0)
    steps = [
        inner["num_threshold"],
        np.nextafter(inner["num_threshold"], -np.inf),
        np.nextafter(inner["num_threshold"], np.inf),
    ]
    edges[np.arange(edges.shape[0]), np.tile(inner["feature_idx"], 3)] = np.concatenate(steps)
    onnx = artefact(estimator, train.shape[1])
    for matrix in (test, edges):
        np.testing.assert_allclose(
            onnx.values(matrix)[:, 0], estimator.predict(matrix), rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_probabilities_agree(classes: int) -> None:
    train, test = rows(2), rows(3)
    target = (np.nan_to_num(train[:, 0]) % classes).astype(int)
    estimator = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(train, target)
    onnx = artefact(estimator, train.shape[1], classes)
    probabilities = onnx.probabilities(onnx.values(test))
    np.testing.assert_allclose(probabilities, estimator.predict_proba(test), atol=1e-12)


def test_trees_of_one_leaf_agree() -> None:
    train = np.ones((40, 1))
    estimator = HistGradientBoostingRegressor(max_iter=3).fit(train, np.arange(40.0))
    onnx = artefact(estimator, 1)
    np.testing.assert_allclose(onnx.values(train)[:, 0], estimator.predict(train))


def test_infinities_and_rows_of_nothing_but_nulls_agree() -> None:
    train = rows(4)
    estimator = HistGradientBoostingRegressor(random_state=0).fit(train, np.arange(len(train)))
    onnx = artefact(estimator, train.shape[1])
    extreme = np.stack([np.full(5, value) for value in (np.nan, np.inf, -np.inf, 0.0, 1e308)])
    np.testing.assert_allclose(onnx.values(extreme)[:, 0], estimator.predict(extreme))
