"""The prepare job on good and on bad snapshots."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from containers.job import JobError
from containers.prepare import prepare
from tests.unit.containers.examples import Base, make_model, make_table

MODEL = make_model({"colour": "VARCHAR", "size": "FLOAT", "price": "FLOAT"}, "price")
BINARY = make_model({"size": "FLOAT", "kind": "VARCHAR"}, "kind", "binary")


def columns(rows: int) -> dict[str, list[Any]]:
    return {
        "colour": [("red", "blue", None)[place % 3] for place in range(rows)],
        "size": [None if place % 7 == 0 else place / 2 for place in range(rows)],
        "price": [float(place) for place in range(rows)],
    }


def test_rows_are_split_by_their_id_and_described(base: Base) -> None:
    base.snapshot(MODEL, make_table(MODEL, columns(1000)))
    told = prepare(base.root)
    output = base.root / "processing" / "output"
    train = pq.read_table(output / "train" / "rows.parquet")
    holdout = pq.read_table(output / "holdout" / "rows.parquet")
    profile = json.loads((output / "profile" / "profile.json").read_text())
    assert train.num_rows + holdout.num_rows == profile["rows"] == 1000
    assert profile["train_rows"] == train.num_rows
    assert profile["holdout_rows"] == holdout.num_rows
    assert 150 < holdout.num_rows < 250
    assert str(train.num_rows) in told
    assert train.column("row_id").to_pylist() == sorted(train.column("row_id").to_pylist())
    assert profile["columns"]["colour"]["top"] == {"red": 334, "blue": 333}
    assert profile["columns"]["colour"]["nulls"] == 333
    assert profile["columns"]["size"]["nulls"] == 143
    assert profile["columns"]["price"]["deciles"][0] == 0.0
    assert profile["columns"]["price"]["deciles"][-1] == 999.0


def test_rows_without_a_target_are_left_out_and_counted(base: Base) -> None:
    data = columns(300)
    data["price"][:20] = [None] * 10 + [float("nan")] * 10
    base.snapshot(MODEL, make_table(MODEL, data))
    prepare(base.root)
    output = base.root / "processing" / "output"
    profile = json.loads((output / "profile" / "profile.json").read_text())
    assert profile["rows_without_target"] == 20
    assert profile["train_rows"] + profile["holdout_rows"] == 280


def test_other_types_of_the_same_family_are_taken(base: Base) -> None:
    table = make_table(MODEL, columns(100))
    wider = pa.table(
        {
            "unknown": pa.array(range(100)),
            **{name: table.column(name) for name in reversed(table.column_names)},
        }
    ).set_column(1, "price", table.column("price").cast(pa.float32()))
    base.snapshot(MODEL, wider)
    prepare(base.root)
    train = pq.read_table(base.root / "processing" / "output" / "train" / "rows.parquet")
    assert train.column_names == ["row_id", "colour", "size", "price"]
    assert train.schema.field("price").type == pa.float64()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (make_table(MODEL, columns(0)), "has no rows"),
        (make_table(MODEL, columns(1)), "too few rows"),
        (make_table(MODEL, columns(50)).drop_columns(["size"]), "lacks the column size"),
        (make_table(MODEL, {**columns(50), "price": [None] * 50}), "is null in all 50 rows"),
        (
            make_table(MODEL, columns(50)).set_column(2, "size", pa.array(["x"] * 50)),
            "the column size is string, the model says FLOAT",
        ),
    ],
)
def test_a_bad_snapshot_is_refused(base: Base, table: pa.Table, message: str) -> None:
    base.snapshot(MODEL, table)
    with pytest.raises(JobError, match=message):
        prepare(base.root)


@pytest.mark.parametrize(("classes", "message"), [("a", "one class"), ("abc", "3 classes")])
def test_a_target_of_too_few_or_too_many_classes_is_refused(
    base: Base, classes: str, message: str
) -> None:
    rows = {
        "size": [float(place) for place in range(100)],
        "kind": [classes[place % len(classes)] for place in range(100)],
    }
    base.snapshot(BINARY, make_table(BINARY, rows))
    with pytest.raises(JobError, match=message):
        prepare(base.root)


def test_a_folder_without_a_dataset_and_a_file_that_is_none_are_refused(base: Base) -> None:
    base.snapshot(MODEL, make_table(MODEL, columns(10)))
    file = base.root / "processing" / "input" / "snapshot" / "0000_part_00"
    file.write_bytes(b"ticker,price\n")
    with pytest.raises(JobError, match="is not a Parquet file"):
        prepare(base.root)
    file.unlink()
    with pytest.raises(JobError, match="no dataset"):
        prepare(base.root)
