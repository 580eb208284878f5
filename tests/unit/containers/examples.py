"""Small models, tables and /opt/ml folders for the tests of the jobs."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from containers.dataset import ARROW_TYPES, write_dataset
from containers.job import write_json
from tidemill.model import Model


def row_id(place: int) -> str:
    digest = hashlib.blake2b(str(place).encode(), digest_size=12).digest()
    return base64.urlsafe_b64encode(digest).decode()


def make_model(
    columns: Mapping[str, str],
    target: str,
    problem: str = "regression",
    hyperparameters: Mapping[str, Any] | None = None,
    name: str = "example",
) -> Model:
    metric, threshold = ("rmse", 1e9) if problem == "regression" else ("accuracy", 0.0)
    return Model.from_dict(
        {
            "name": name,
            "target": target,
            "problem": problem,
            "columns": [{"name": c, "type": t} for c, t in columns.items()],
            "trainer": {"hyperparameters": dict(hyperparameters or {})},
            "gate": {"metric": metric, "threshold": threshold},
        }
    )


def make_table(model: Model, columns: Mapping[str, list[Any]], first: int = 0) -> pa.Table:
    rows = len(next(iter(columns.values())))
    arrays = {"row_id": pa.array([row_id(first + place) for place in range(rows)])}
    for column in model.columns:
        arrays[column.name] = pa.array(
            columns[column.name], type=ARROW_TYPES[column.type.kind], from_pandas=True
        )
    return pa.table(arrays)


class Base:
    """A temporary /opt/ml."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def snapshot(self, model: Model, table: pa.Table) -> None:
        source = self.root / "processing" / "input"
        write_json(source / "spec" / "model.json", model.to_dict())
        write_dataset(source / "snapshot" / "0000_part_00", table)

    def channels(self, model: Model, **tables: pa.Table) -> None:
        data = self.root / "input" / "data"
        write_json(data / "spec" / "model.json", model.to_dict())
        for name, table in tables.items():
            write_dataset(data / name / "rows.parquet", table)
