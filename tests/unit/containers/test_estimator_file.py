"""model.skops is read through an explicit list of types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import FunctionTransformer

from containers.estimator_file import ALLOWED_TYPES, read_estimator, write_estimator
from containers.job import JobError


def test_every_kind_of_estimator_comes_back_and_no_type_is_allowed_in_vain(tmp_path: Path) -> None:
    features, needed = np.arange(200.0).reshape(-1, 1), set()
    estimators = [
        HistGradientBoostingRegressor(max_iter=2).fit(features, features[:, 0]),
        HistGradientBoostingRegressor(max_iter=2, early_stopping=True).fit(
            features, features[:, 0]
        ),
        HistGradientBoostingClassifier(max_iter=2).fit(features, features[:, 0] > 99),
        HistGradientBoostingClassifier(max_iter=2).fit(features, features[:, 0] // 70),
    ]
    for estimator in estimators:
        file = tmp_path / "model.skops"
        write_estimator(file, estimator)
        needed |= set(skops.io.get_untrusted_types(file=file))
        np.testing.assert_array_equal(
            read_estimator(file).predict(features), estimator.predict(features)
        )
    assert needed == ALLOWED_TYPES


def test_a_file_with_another_type_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.skops"
    skops.io.dump(FunctionTransformer(np.savetxt), file)
    with pytest.raises(JobError, match=r"no artefact of ours has: numpy\.savetxt"):
        read_estimator(file)


def test_an_estimator_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.skops"
    skops.io.dump(LinearRegression(), file)
    with pytest.raises(JobError, match="holds a LinearRegression"):
        read_estimator(file)
