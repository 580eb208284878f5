"""Snapshots: which rows are held out, and the hash of the content."""

from __future__ import annotations

import base64
from datetime import date, datetime

import pyarrow as pa
import pytest

from containers.job import JobError
from containers.snapshot import dataset_hash, held_out, in_canonical_order
from tests.unit.containers.examples import make_model, make_table, row_id

MODEL = make_model(
    {"t": "VARCHAR", "n": "INTEGER", "x": "FLOAT", "b": "BOOLEAN", "d": "DATE", "m": "TIMESTAMP"},
    "x",
)
ROWS = make_table(
    MODEL,
    {
        "t": ["a", None, "é"],
        "n": [1, 2, None],
        "x": [0.5, -0.0, None],
        "b": [True, None, False],
        "d": [date(2026, 1, 1), None, date(1900, 2, 28)],
        "m": [datetime(2026, 1, 1, 12), datetime(1, 1, 1), None],
    },
)


def ids(*values: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


def test_held_out_is_the_whole_number_modulo_100() -> None:
    many = [row_id(place) for place in range(2000)]
    expected = [int.from_bytes(base64.urlsafe_b64decode(text), "big") % 100 < 20 for text in many]
    assert held_out(ids(*many)).tolist() == expected
    assert 300 < sum(expected) < 500


@pytest.mark.parametrize("wrong", ["short", "x" * 17, "+" * 16, "é" * 8, row_id(2) + "\n", None])
def test_a_row_id_that_is_none_is_refused(wrong: str | None) -> None:
    with pytest.raises(JobError, match="not 16 characters of base64url"):
        held_out(ids(row_id(1), wrong))


def test_the_hash_depends_on_neither_order_nor_files() -> None:
    first = dataset_hash(in_canonical_order(ROWS))
    shuffled = pa.concat_tables([ROWS.slice(2), ROWS.slice(0, 1), ROWS.slice(1, 1)])
    assert dataset_hash(in_canonical_order(shuffled)) == first


def test_the_hash_stays_the_same_over_releases() -> None:
    expected = "64f755c462baa49f96b27e1a55c6aa2baf7ff1d6f28c7d6bbe7e48363c3ea998"
    assert dataset_hash(in_canonical_order(ROWS)) == expected


@pytest.mark.parametrize("column", ["t", "n", "x", "b", "d", "m"])
def test_the_hash_sees_each_value_and_each_null(column: str) -> None:
    first = dataset_hash(in_canonical_order(ROWS))
    values = ROWS.column(column).to_pylist()
    for changed in (values[::-1], [None, *values[1:]], [values[1], values[0], values[2]]):
        array = pa.array(changed, ROWS.schema.field(column).type)
        table = ROWS.set_column(ROWS.column_names.index(column), column, array)
        if changed != values:
            assert dataset_hash(in_canonical_order(table)) != first
