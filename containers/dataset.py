"""Datasets: Parquet files read by the model's own column types, and turned into features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from containers.features import NUMBER_KINDS, Feature, categories_of
from containers.job import JobError
from tidemill.model import Column, Model

ROW_ID: Final = "row_id"
ARROW_TYPES: Final = {
    "VARCHAR": pa.string(),
    "SMALLINT": pa.int16(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "REAL": pa.float32(),
    "FLOAT": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
}


def read_dataset(folder: Path, model: Model) -> pa.Table:
    """Read every Parquet file of `folder` as one table of row_id and the model's columns.

    Columns are found by name, other columns are left out, and each has the type of
    `ARROW_TYPES`. The rows are in the files' order. Raises JobError where there is no file, or
    where one lacks a column or holds another type.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix != ".json")
    # UNLOAD's own files need not end in .parquet, yet a manifest may lie beside them.
    files = [file for file in files if "manifest" not in file.name]
    if not files:
        raise JobError(f"there is no dataset: {folder} holds no Parquet file, so there are no rows")
    return pa.concat_tables([_read_file(file, model) for file in files]).combine_chunks()


def _read_file(file: Path, model: Model) -> pa.Table:
    try:
        with pq.ParquetFile(file) as parquet:
            present = set(parquet.schema_arrow.names)
            wanted = [ROW_ID, *(column.name for column in model.columns)]
            missing = [name for name in wanted if name not in present]
            if missing:
                raise JobError(f"{file.name} lacks the column {', '.join(missing)}")
            table = parquet.read(columns=wanted)
    except (pa.ArrowException, OSError) as error:
        raise JobError(f"{file.name} is not a Parquet file: {error}") from error
    arrays = [_cast(table.column(ROW_ID), ROW_ID, "VARCHAR", file)]
    arrays += [_cast(table.column(c.name), c.name, c.type.kind, file) for c in model.columns]
    return pa.table(dict(zip(wanted, arrays, strict=True)))


def _cast(array: pa.ChunkedArray, name: str, kind: str, file: Path) -> pa.ChunkedArray:
    wanted = ARROW_TYPES[kind]
    if array.type == wanted:
        return array
    if not pa.types.is_null(array.type) and _family(array.type) != _family(wanted):
        raise JobError(f"{file.name}: the column {name} is {array.type}, the model says {kind}")
    try:
        # Some writers keep timestamps in nanoseconds; the warehouse has microseconds.
        return array.cast(wanted, safe=not pa.types.is_timestamp(wanted))
    except pa.ArrowException as error:
        raise JobError(f"{file.name}: the column {name} is no {kind}: {error}") from error


def _family(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _family(kind.value_type)
    for name, holds in (
        ("text", lambda k: pa.types.is_string(k) or pa.types.is_large_string(k)),
        ("whole", pa.types.is_integer),
        ("real", pa.types.is_floating),
        ("timestamp", pa.types.is_timestamp),
    ):
        if holds(kind):
            return name
    return str(kind)


def write_dataset(file: Path, table: pa.Table) -> None:
    """Write `table` as one Parquet file, making the folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, compression="zstd")


def fit_features(table: pa.Table, columns: Sequence[Column]) -> tuple[Feature, ...]:
    """Return the features of the training rows: their categories are those that `table` holds."""
    features = []
    for column in columns:
        kind = column.type.kind
        categories: tuple[str, ...] = ()
        if kind == "VARCHAR":
            counts = pc.value_counts(table.column(column.name).drop_null())
            categories = categories_of(
                (entry["values"], entry["counts"]) for entry in counts.to_pylist()
            )
        features.append(Feature(column.name, kind, categories))
    return tuple(features)


def feature_matrix(table: pa.Table, features: Sequence[Feature]) -> npt.NDArray[np.float64]:
    """Return the features of `table` as numbers: one row a row, one column a feature, in order."""
    matrix = np.empty((table.num_rows, len(features)), dtype=np.float64)
    for place, feature in enumerate(features):
        matrix[:, place] = feature_numbers(table.column(feature.name), feature)
    return matrix


def feature_numbers(array: pa.ChunkedArray, feature: Feature) -> npt.NDArray[np.float64]:
    """Return one feature's numbers, NaN for null."""
    if feature.kind in NUMBER_KINDS:
        return np.asarray(pc.fill_null(array.cast(pa.float64(), safe=False), np.nan))
    # The encoder of serving, asked once for each distinct value.
    encoded = array.combine_chunks().dictionary_encode()
    encode = feature.encoder()
    numbers = np.array([*map(encode, encoded.dictionary.to_pylist()), np.nan], dtype=np.float64)
    codes = np.asarray(pc.fill_null(encoded.indices, len(numbers) - 1))
    return numbers.take(codes)
