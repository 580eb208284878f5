"""model.skops: the fitted estimator, read back only through an explicit list of types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from containers.job import JobError

if TYPE_CHECKING:
    from containers.trainer import Estimator

ALLOWED_TYPES: Final = frozenset(
    {"sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"}
)
"""The types that an estimator of ours has beyond those of scikit-learn that skops trusts."""
ESTIMATORS: Final = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")


def write_estimator(file: Path, estimator: Estimator) -> None:
    """Write the estimator; nothing in the file can run code when it is read."""
    import skops.io

    skops.io.dump(estimator, file)


def read_estimator(file: Path) -> Estimator:
    """Read an estimator.

    Raises JobError where the file names a type that is not allowed, and nothing is loaded then,
    or where it holds something else than an estimator of ours.
    """
    import skops.io

    unknown = set(skops.io.get_untrusted_types(file=file)) - ALLOWED_TYPES
    if unknown:
        names = ", ".join(sorted(unknown))
        raise JobError(f"{file.name} holds types that no artefact of ours has: {names}")
    estimator = skops.io.load(file, trusted=sorted(ALLOWED_TYPES))
    if type(estimator).__name__ not in ESTIMATORS:
        raise JobError(f"{file.name} holds a {type(estimator).__name__}, not an estimator of ours")
    return estimator
