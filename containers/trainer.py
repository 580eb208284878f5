"""The trainer: histogram gradient boosting of scikit-learn on the features' numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from containers.job import JobError
from tidemill.model import Model

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    Estimator: TypeAlias = HistGradientBoostingClassifier | HistGradientBoostingRegressor

MAX_CLASSES: Final = 1000
"""More classes than this mean that the target is no class but a number or an identifier."""
THREADS_PAY_FROM: Final = 5_000_000
"""The values (rows times features) from which training on all cores is faster for sure.

Below, threads wait for each other more than they work: where others use the cores too, 122,826
rows of three features took 0.8 s on one thread and 8 to 19 s on two. The trees are the same.
"""
_OF_SAGEMAKER: Final = ("sagemaker_", "_tuning_")


def with_hyperparameters(model: Model, strings: Mapping[str, str]) -> Model:
    """Return `model` with the hyperparameters of a training job, which are all strings.

    Each takes the type and the bounds that the model file gives it; `seed` is the trainer's.
    Raises ModelFileError, naming the hyperparameter, where one is unknown or out of bounds.
    """
    document = model.to_dict()
    for name, text in strings.items():
        if name == "seed":
            document["trainer"]["seed"] = _typed(text)
        elif not name.startswith(_OF_SAGEMAKER):
            document["trainer"]["hyperparameters"][name] = _typed(text)
    return Model.from_dict(document)


def _typed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # The rule of the hyperparameter refuses it in its own words.


def fit(model: Model, features: npt.NDArray[np.float64], target: npt.NDArray[Any]) -> Estimator:
    """Fit the model's trainer; the same rows in the same order give the same trees.

    `features` is (rows, features) with NaN for missing; `target` holds numbers, or class
    indices from 0 for classification. No column is declared categorical: categories are
    ordinals, which the ONNX graph reproduces exactly. Raises JobError where it cannot be fitted.
    """
    # Loading scikit-learn takes seconds; only here is it needed. OpenMP reads its policy then.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has no types

    if features.size < THREADS_PAY_FROM:
        threadpool_limits(limits=1, user_api="openmp")
    regression = model.problem == "regression"
    make = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    estimator = make(random_state=model.trainer.seed, **model.trainer.hyperparameters)
    # Its binning breaks on a column without a value, such as one that was just added. No tree
    # splits on a constant, so the zeros decide nothing.
    features = np.where(np.isnan(features).all(axis=0), 0.0, features)
    try:
        estimator.fit(features, target)
    except ValueError as error:
        raise JobError(f"{model.name} cannot be trained: {error}") from error
    return estimator
