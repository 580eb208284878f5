"""The prepare job: checks a snapshot, splits it, and describes it.

Reads `processing/input/snapshot` (Parquet) and `processing/input/spec/model.json`; writes
Parquet to `processing/output/train` and `processing/output/holdout`, and
`processing/output/profile/profile.json`. It loads no scikit-learn, to start fast.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from containers import job
from containers.dataset import read_dataset, write_dataset
from containers.job import JobError
from containers.profile import column_profile
from containers.snapshot import dataset_hash, held_out, in_canonical_order
from tidemill.model import Model


def prepare(base: Path) -> str:
    """Do the job under `base`; return a line that says what was prepared.

    Raises JobError where the snapshot is not the model's, or has nothing to learn from.
    """
    source, target = base / "processing" / "input", base / "processing" / "output"
    model = job.read_model(source / "spec")
    snapshot = in_canonical_order(read_dataset(source / "snapshot", model))
    if not snapshot.num_rows:
        raise JobError(f"the snapshot of {model.name} has no rows: stream some first")
    learnable = snapshot.filter(_has_target(snapshot, model))
    if not learnable.num_rows:
        raise JobError(
            f"the target {model.target} is null in all {snapshot.num_rows} rows of {model.name}"
        )
    held = held_out(learnable.column("row_id"))
    train, holdout = learnable.filter(pa.array(~held)), learnable.filter(pa.array(held))
    _check_parts(model, train, holdout)
    write_dataset(target / "train" / "rows.parquet", train)
    write_dataset(target / "holdout" / "rows.parquet", holdout)
    profile = {
        "model": model.name,
        "rows": snapshot.num_rows,
        "rows_without_target": snapshot.num_rows - learnable.num_rows,
        "train_rows": train.num_rows,
        "holdout_rows": holdout.num_rows,
        "dataset_hash": dataset_hash(snapshot),
        "columns": {c.name: column_profile(snapshot.column(c.name), c) for c in model.columns},
    }
    job.write_json(target / "profile" / "profile.json", profile)
    return f"prepared {train.num_rows} rows to train on, {holdout.num_rows} held out"


def _has_target(table: pa.Table, model: Model) -> pa.ChunkedArray:
    """A row without its target teaches nothing and cannot be judged by."""
    target = table.column(model.target)
    known = target.is_valid()
    if pa.types.is_floating(target.type):
        known = pc.and_(known, pc.fill_null(pc.is_finite(target), False))
    return known


def _check_parts(model: Model, train: pa.Table, holdout: pa.Table) -> None:
    for part, table in (("train on", train), ("hold out", holdout)):
        if not table.num_rows:
            rows = train.num_rows + holdout.num_rows
            raise JobError(f"{model.name} has too few rows ({rows}): none is left to {part}")
    if model.problem == "regression":
        return
    classes = pc.unique(train.column(model.target)).to_pylist()
    if len(classes) < 2:
        raise JobError(
            f"the target {model.target} has one class ({classes[0]!r}) in the "
            f"{train.num_rows} rows to train on: {model.problem} needs at least two"
        )
    if model.problem == "binary" and len(classes) > 2:
        raise JobError(
            f"the target {model.target} has {len(classes)} classes: binary needs two, "
            'say problem = "multiclass" in the model file'
        )


def main() -> int:
    """Run the job; return the exit code."""
    # Arrow says how a feature is null, NumPy warns when it meets the NaN made of it.
    np.seterr(invalid="ignore")
    return job.run(prepare, "message")


if __name__ == "__main__":
    sys.exit(main())
