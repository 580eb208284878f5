"""model.skops: the fitted estimator, read back only through an explicit list of types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from containers.job import JobError

if TYPE_CHECKING:
    from containers.trainer import Estimator

_LOSS: Final = "sklearn._loss"
ALLOWED_TYPES: Final = frozenset(
    {
        f"{_LOSS}._loss.CyHalfBinomialLoss",
        f"{_LOSS}._loss.CyHalfMultinomialLoss",
        f"{_LOSS}._loss.CyHalfSquaredError",
        f"{_LOSS}.link.IdentityLink",
        f"{_LOSS}.link.Interval",
        f"{_LOSS}.link.LogitLink",
        f"{_LOSS}.link.MultinomialLogit",
        f"{_LOSS}.loss.HalfBinomialLoss",
        f"{_LOSS}.loss.HalfMultinomialLoss",
        f"{_LOSS}.loss.HalfSquaredError",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    }
)
"""The types beyond skops' own trusted ones that an estimator of ours consists of."""


def write_estimator(file: Path, estimator: Estimator) -> None:
    """Write the estimator; nothing in the file can run code when it is read."""
    import skops.io

    skops.io.dump(estimator, file)


def read_estimator(file: Path) -> Estimator:
    """Read an estimator.

    Raises JobError where the file names a type that is not allowed; nothing is loaded then.
    """
    import skops.io

    unknown = set(skops.io.get_untrusted_types(file=file)) - ALLOWED_TYPES
    if unknown:
        names = ", ".join(sorted(unknown))
        raise JobError(f"{file.name} holds types that no artefact of ours has: {names}")
    return skops.io.load(file, trusted=sorted(ALLOWED_TYPES))
