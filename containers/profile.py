"""The profile of a snapshot: what its columns looked like when a version was trained."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from containers.dataset import feature_numbers
from containers.features import Feature
from tidemill.model import Column

TOP_VALUES: Final = 100
DECILES: Final = tuple(tenth / 10 for tenth in range(11))


def column_profile(array: pa.ChunkedArray, column: Column) -> dict[str, Any]:
    """Describe one column as JSON.

    Always kind and nulls. VARCHAR: the number of distinct values and the counts of the most
    frequent. Other types: mean, std and the eleven deciles of the finite values, minimum and
    maximum included, in the numbers that the trees see; absent where there is no such value.
    """
    kind = column.type.kind
    profile: dict[str, Any] = {"kind": kind, "nulls": array.null_count}
    if kind == "VARCHAR":
        counts = pc.value_counts(array.drop_null()).to_pylist()
        ranked = sorted(counts, key=lambda entry: (-entry["counts"], entry["values"]))
        profile["distinct"] = len(ranked)
        profile["top"] = {entry["values"]: entry["counts"] for entry in ranked[:TOP_VALUES]}
        return profile
    numbers = feature_numbers(array, Feature(column.name, kind))
    numbers = numbers[np.isfinite(numbers)]
    if numbers.size:
        profile["mean"] = float(numbers.mean())
        profile["std"] = float(numbers.std())
        profile["deciles"] = [float(value) for value in np.quantile(numbers, DECILES)]
    return profile
