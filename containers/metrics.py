"""The metrics that versions are judged by, as scikit-learn defines them, without loading it."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
UNKNOWN_CLASS: Final = -1
"""The index of a held-out row whose class the version never saw: it is always wrong."""


def regression_metrics(truth: Floats, predicted: Floats) -> dict[str, float | None]:
    """Return rmse, mae and r2 of at least one row; r2 is None where all truths are equal."""
    error = predicted - truth
    spread = float(np.sum((truth - truth.mean()) ** 2))
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "r2": 1.0 - float(np.sum(error**2)) / spread if spread > 0 else None,
    }


def classification_metrics(truth: Indices, probabilities: Floats) -> dict[str, float | None]:
    """Return accuracy, f1, log_loss and auc of at least one row.

    `truth` holds indices of the columns of `probabilities` (rows, classes), or UNKNOWN_CLASS.
    With two classes f1 and auc are of the second one; with more, f1 is the mean over the classes
    that occur, and auc that of each present class against the rest. An undefined auc is None.
    """
    predicted = probabilities.argmax(axis=1)
    classes = probabilities.shape[1]
    known = truth != UNKNOWN_CLASS
    chosen = np.where(known, probabilities[np.arange(truth.size), np.where(known, truth, 0)], 0.0)
    smallest = np.finfo(np.float64).eps
    return {
        "accuracy": float(np.mean(predicted == truth)),
        "f1": _f1(truth, predicted, classes),
        "log_loss": float(-np.mean(np.log(np.clip(chosen, smallest, 1.0)))),
        "auc": _auc(truth, probabilities),
    }


def _f1(truth: Indices, predicted: Indices, classes: int) -> float:
    if classes == 2 and not (truth == UNKNOWN_CLASS).any():
        return _f1_of(1, truth, predicted)
    occurring = np.union1d(truth, predicted)
    return float(np.mean([_f1_of(int(index), truth, predicted) for index in occurring]))


def _f1_of(index: int, truth: Indices, predicted: Indices) -> float:
    right = int(np.sum((truth == index) & (predicted == index)))
    either = int(np.sum(truth == index) + np.sum(predicted == index))
    return 2.0 * right / either if either else 0.0


def _auc(truth: Indices, probabilities: Floats) -> float | None:
    classes = probabilities.shape[1]
    columns = [1] if classes == 2 else range(classes)
    areas = [_area(truth == index, probabilities[:, index]) for index in columns]
    defined = [area for area in areas if area is not None]
    return float(np.mean(defined)) if defined else None


def _area(positive: npt.NDArray[np.bool_], score: Floats) -> float | None:
    """The share of (positive, negative) pairs that the score ranks right; ties count half."""
    positives = int(positive.sum())
    negatives = positive.size - positives
    if not positives or not negatives:
        return None
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    # A tie shares the mean of the ranks it covers.
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[place]
    return float(
        (ranks[positive].sum() - positives * (positives + 1) / 2.0) / (positives * negatives)
    )
