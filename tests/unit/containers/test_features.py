"""Features: one encoding, column-wise in training and value by value in serving."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from containers.dataset import ARROW_TYPES, feature_numbers
from containers.features import MAX_CATEGORIES, Feature, categories_of

VALUES: dict[str, tuple[list[Any], list[float]]] = {
    "VARCHAR": (["b", "a", "unseen", "", None], [1, 0, math.nan, math.nan, math.nan]),
    "SMALLINT": ([-32768, 7, None], [-32768, 7, math.nan]),
    "INTEGER": ([2**31 - 1, None], [2**31 - 1, math.nan]),
    "BIGINT": ([2**40 + 1, -1, None], [2**40 + 1, -1, math.nan]),
    "REAL": ([1.5, None], [1.5, math.nan]),
    "FLOAT": ([0.1, math.nan, None], [0.1, math.nan, math.nan]),
    "BOOLEAN": ([True, False, None], [1, 0, math.nan]),
    "DATE": ([date(1970, 1, 2), date(1969, 12, 31), None], [1, -1, math.nan]),
    "TIMESTAMP": ([datetime(1970, 1, 1, 1, 0, 0, 500000), None], [3600.5, math.nan]),
}


@pytest.mark.parametrize("kind", VALUES)
def test_columns_and_single_values_encode_alike(kind: str) -> None:
    values, expected = VALUES[kind]
    feature = Feature("f", kind, ("a", "b") if kind == "VARCHAR" else ())
    column = feature_numbers(pa.chunked_array([pa.array(values, ARROW_TYPES[kind])]), feature)
    encode = feature.encoder()
    single = [math.nan if value is None else encode(value) for value in values]
    np.testing.assert_array_equal(column, expected)
    np.testing.assert_array_equal(single, expected)


@pytest.mark.parametrize("kind", VALUES)
def test_a_column_of_nulls_and_an_empty_one_encode(kind: str) -> None:
    for rows in (0, 3):
        array = pa.chunked_array([pa.array([None] * rows, ARROW_TYPES[kind])])
        numbers = feature_numbers(array, Feature("f", kind))
        assert numbers.shape == (rows,)
        assert np.isnan(numbers).all()


def test_categories_are_the_most_frequent_in_alphabetical_order() -> None:
    counts = [(f"v{place:06d}", 1) for place in range(MAX_CATEGORIES)]
    categories = categories_of([("zz", 5), *counts])
    assert len(categories) == MAX_CATEGORIES
    assert categories[-1] == "zz"
    assert list(categories) == sorted(categories)
    assert f"v{MAX_CATEGORIES - 1:06d}" not in categories


@pytest.mark.parametrize("kind", VALUES)
def test_a_feature_comes_back_from_json(kind: str) -> None:
    feature = Feature("f", kind, ("a", "b") if kind == "VARCHAR" else ())
    assert Feature.from_dict(feature.to_dict()) == feature
