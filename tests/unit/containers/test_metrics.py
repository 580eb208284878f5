"""Our metrics are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from containers.metrics import UNKNOWN_CLASS, classification_metrics, regression_metrics


def test_regression_metrics_are_those_of_scikit_learn() -> None:
    chance = np.random.default_rng(0)
    truth = chance.normal(size=200)
    predicted = truth + chance.normal(size=200)
    assert regression_metrics(truth, predicted) == pytest.approx(
        {
            "rmse": sk.root_mean_squared_error(truth, predicted),
            "mae": sk.mean_absolute_error(truth, predicted),
            "r2": sk.r2_score(truth, predicted),
        }
    )


def test_r2_is_undefined_where_all_truths_are_equal() -> None:
    assert regression_metrics(np.ones(3), np.array([1.0, 2.0, 3.0]))["r2"] is None


@pytest.mark.parametrize("ties", [False, True])
def test_binary_metrics_are_those_of_scikit_learn(ties: bool) -> None:
    chance = np.random.default_rng(1)
    truth = chance.integers(0, 2, 300)
    second = np.clip(truth * 0.3 + chance.random(300) * 0.7, 0.001, 0.999)
    second = second.round(1).clip(0.05, 0.95) if ties else second
    probabilities = np.stack([1 - second, second], axis=1)
    predicted = probabilities.argmax(axis=1)
    assert classification_metrics(truth, probabilities) == pytest.approx(
        {
            "accuracy": sk.accuracy_score(truth, predicted),
            "f1": sk.f1_score(truth, predicted),
            "log_loss": sk.log_loss(truth, probabilities),
            "auc": sk.roc_auc_score(truth, second),
        }
    )


def test_multiclass_metrics_are_those_of_scikit_learn() -> None:
    chance = np.random.default_rng(2)
    truth = chance.integers(0, 4, 300)
    probabilities = chance.dirichlet(np.ones(4), 300)
    probabilities[np.arange(300), truth] += 0.5
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    assert classification_metrics(truth, probabilities) == pytest.approx(
        {
            "accuracy": sk.accuracy_score(truth, predicted),
            "f1": sk.f1_score(truth, predicted, average="macro"),
            "log_loss": sk.log_loss(truth, probabilities),
            "auc": sk.roc_auc_score(truth, probabilities, multi_class="ovr"),
        }
    )


def test_a_class_the_version_never_saw_counts_as_wrong() -> None:
    truth = np.array([0, 1, UNKNOWN_CLASS])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    measured = classification_metrics(truth, probabilities)
    assert measured["accuracy"] == pytest.approx(2 / 3)
    assert measured["log_loss"] is not None
    assert np.isfinite(measured["log_loss"])
    assert measured["log_loss"] > 10


def test_auc_is_undefined_with_one_class() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert classification_metrics(np.array([1, 1]), probabilities)["auc"] is None
