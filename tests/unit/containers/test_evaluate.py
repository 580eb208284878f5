"""The evaluation job: challenger and champion on the same rows."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from containers import job, train
from containers.dataset import write_dataset
from containers.evaluate import evaluate
from containers.job import JobError
from tests.unit.containers.examples import Base, make_model, make_table
from tidemill.model import Model

REGRESSION = make_model({"colour": "VARCHAR", "x": "FLOAT", "y": "FLOAT"}, "y")
CLASSES = make_model({"colour": "VARCHAR", "x": "FLOAT", "y": "VARCHAR"}, "y", "multiclass")


def columns(model: Model, rows: int = 200) -> dict[str, list[Any]]:
    y = [float(p % 50) for p in range(rows)]
    names = [("a", "b", "c")[int(value) // 20] for value in y]
    return {
        "colour": [f"c{p % 3}" for p in range(rows)],
        "x": y,
        "y": y if model.problem == "regression" else names,
    }


def archive(base: Base, model: Model, role: str, root: Path) -> None:
    trained = Base(root / f"trained-{role}")
    trained.channels(model, train=make_table(model, columns(model)))
    train.train(trained.root)
    file = base.root / "processing" / "input" / role / "model.tar.gz"
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz") as tar:
        tar.add(trained.root / "model", ".")


def holdout(base: Base, model: Model, data: dict[str, list[Any]]) -> None:
    source = base.root / "processing" / "input"
    job.write_json(source / "spec" / "model.json", model.to_dict())
    job.write_json(source / "profile" / "profile.json", {"rows": 999, "dataset_hash": "abc"})
    write_dataset(source / "holdout" / "rows.parquet", make_table(model, data, first=10_000))


def result(base: Base) -> dict[str, Any]:
    file = base.root / "processing" / "output" / "evaluation" / "evaluation.json"
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def test_both_versions_are_judged_by_the_same_rows(base: Base, tmp_path: Path) -> None:
    archive(base, REGRESSION, "challenger", tmp_path)
    archive(base, REGRESSION, "champion", tmp_path)
    data = columns(REGRESSION, 60)
    data["colour"][:2] = ["never seen", None]
    holdout(base, REGRESSION, data)
    told = evaluate(base.root)
    document = result(base)
    assert document["rows"] == 60
    assert (document["snapshot_rows"], document["dataset_hash"]) == (999, "abc")
    assert set(document["challenger"]["metrics"]) == {"rmse", "mae", "r2"}
    assert document["champion"] == document["challenger"]
    assert document["twin"]["largest_difference"] <= 1e-4
    assert len(document["artefact_digest"]) == 64
    assert len(document["smoke"]) == 5
    assert document["smoke"][1]["features"] == {"colour": None, "x": 1.0}
    assert "champion_rmse=" in told


def test_a_class_that_no_version_saw_counts_as_wrong(base: Base, tmp_path: Path) -> None:
    archive(base, CLASSES, "challenger", tmp_path)
    data = columns(CLASSES, 100)
    data["y"][:10] = ["new"] * 10
    holdout(base, CLASSES, data)
    evaluate(base.root)
    document = result(base)
    assert document["champion"] is None
    assert document["challenger"]["metrics"]["accuracy"] == pytest.approx(0.9)
    assert document["smoke"][0]["prediction"] in ("a", "b", "c")


def test_a_champion_of_another_shape_is_left_out_with_the_reason(
    base: Base, tmp_path: Path
) -> None:
    archive(base, REGRESSION, "challenger", tmp_path)
    archive(base, CLASSES, "champion", tmp_path)
    holdout(base, REGRESSION, columns(REGRESSION, 50))
    evaluate(base.root)
    document = result(base)
    assert document["champion"] is None
    assert "multiclass of y" in document["champion_skipped"]


def test_a_champion_from_before_a_column_was_added_is_judged(base: Base, tmp_path: Path) -> None:
    wider = make_model({"colour": "VARCHAR", "x": "FLOAT", "z": "FLOAT", "y": "FLOAT"}, "y")
    data = {**columns(wider, 50), "z": [None] * 50}
    archive(base, REGRESSION, "challenger", tmp_path)
    archive(base, REGRESSION, "champion", tmp_path)
    holdout(base, wider, data)
    evaluate(base.root)
    assert result(base)["champion"] is not None


def test_missing_or_broken_input_is_refused(base: Base, tmp_path: Path) -> None:
    holdout(base, REGRESSION, columns(REGRESSION, 50))
    with pytest.raises(JobError, match=r"model.tar.gz is not an artefact"):
        evaluate(base.root)
    file = base.root / "processing" / "input" / "challenger" / "model.tar.gz"
    file.parent.mkdir(parents=True)
    with tarfile.open(file, "w:gz"):
        pass
    with pytest.raises(JobError, match="cannot be loaded"):
        evaluate(base.root)
    with tarfile.open(file, "w:gz") as tar:
        tar.add(file.parent, "../../outside")
    with pytest.raises(JobError, match="not an artefact"):
        evaluate(base.root)
    archive(base, CLASSES, "challenger", tmp_path)
    with pytest.raises(JobError, match="not a version of this model"):
        evaluate(base.root)


def test_no_held_out_rows_are_refused(base: Base, tmp_path: Path) -> None:
    archive(base, REGRESSION, "challenger", tmp_path)
    holdout(base, REGRESSION, columns(REGRESSION, 0))
    with pytest.raises(JobError, match="no row of example is held out"):
        evaluate(base.root)
