"""The training job: hyperparameters, what it refuses, and the same artefact from the same rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from containers import job, train
from containers.artefact import Artefact
from containers.job import JobError
from containers.trainer import with_hyperparameters
from tests.unit.containers.examples import Base, make_model, make_table
from tidemill.errors import ModelFileError

EVERY_KIND = {
    "text": "VARCHAR(8)",
    "empty": "VARCHAR(8)",
    "number": "FLOAT",
    "absent": "FLOAT",
    "single": "REAL",
    "whole": "BIGINT",
    "flag": "BOOLEAN",
    "day": "DATE",
    "moment": "TIMESTAMP",
    "y": "FLOAT",
}
MODEL = make_model(EVERY_KIND, "y", hyperparameters={"max_iter": 30})
ROWS = 400


def every_kind(rows: int = ROWS) -> dict[str, list[Any]]:
    chance = np.random.default_rng(0)
    number = chance.normal(size=rows)
    places = range(rows)
    return {
        "text": [None if p % 11 == 0 else f"t{p % 5}" for p in places],
        "empty": [None] * rows,
        "number": [None if p % 13 == 0 else float(number[p]) for p in places],
        "absent": [None] * rows,
        "single": number.astype(np.float32).tolist(),
        "whole": [2**53 - p for p in places],
        "flag": [(True, False, None)[p % 3] for p in places],
        "day": [date(2020, 1, 1) + timedelta(days=p) for p in places],
        "moment": [datetime(2020, 1, 1) + timedelta(microseconds=p) for p in places],
        "y": [float(number[p] + p % 5) for p in places],
    }


def prepared(base: Base, columns: dict[str, list[Any]] | None = None, **hyper: str) -> Path:
    table = make_table(MODEL, columns or every_kind())
    base.channels(MODEL, train=table.slice(0, ROWS - 100), holdout=table.slice(ROWS - 100))
    job.write_json(base.root / "input" / "config" / "hyperparameters.json", hyper)
    return base.root


def test_every_type_trains_and_the_twins_agree_on_held_out_rows(base: Base) -> None:
    told = train.train(prepared(base))
    metadata = json.loads((base.root / "model" / "metadata.json").read_text())
    assert metadata["origin"]["twin"]["rows"] == 100
    assert metadata["origin"]["twin"]["checked_on"] == "holdout"
    assert metadata["origin"]["twin"]["largest_difference"] <= 1e-9
    assert metadata["features"][0] == {
        "name": "text",
        "kind": "VARCHAR",
        "categories": ["t0", "t1", "t2", "t3", "t4"],
    }
    assert f"rows={ROWS - 100}" in told


def test_the_same_rows_make_the_same_artefact(base: Base) -> None:
    digests = []
    for _ in range(2):
        train.train(prepared(base))
        folder = base.root / "model"
        digests.append(
            [
                hashlib.sha256((folder / name).read_bytes()).hexdigest()
                for name in ("model.onnx", "metadata.json")
            ]
        )
    assert digests[0] == digests[1]


def test_without_held_out_rows_the_twins_are_compared_on_the_trained_ones(base: Base) -> None:
    base.channels(MODEL, train=make_table(MODEL, every_kind()))
    train.train(base.root)
    metadata = json.loads((base.root / "model" / "metadata.json").read_text())
    assert metadata["origin"]["twin"]["checked_on"] == "train"


def test_twins_that_differ_end_the_job(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    values: Callable[..., Any] = Artefact.values
    monkeypatch.setattr(Artefact, "values", lambda self, rows: values(self, rows) + 2e-4)
    with pytest.raises(JobError, match=r"differs from model\.skops by 0\.0002"):
        train.train(prepared(base))


def test_hyperparameters_take_their_types_and_win_over_the_specification() -> None:
    strings = {
        "max_iter": "7",
        "learning_rate": "0.5",
        "early_stopping": "true",
        "seed": "9",
        "sagemaker_program": "x",
        "_tuning_objective_metric": "rmse",
    }
    trainer = with_hyperparameters(MODEL, strings).trainer
    assert trainer.seed == 9
    assert trainer.hyperparameters["max_iter"] == 7
    assert trainer.hyperparameters["learning_rate"] == 0.5
    assert trainer.hyperparameters["early_stopping"] is True


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("max_iter", "0"),
        ("max_iter", "ten"),
        ("learning_rate", "NaN"),
        ("depth", "3"),
        ("seed", "-1"),
    ],
)
def test_a_wrong_hyperparameter_is_named(name: str, text: str) -> None:
    with pytest.raises(ModelFileError, match=name):
        with_hyperparameters(MODEL, {name: text})


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([None] * ROWS, "target y is null in 300 of 300 rows"),
        ([float("inf")] * ROWS, "not finite"),
    ],
)
def test_a_bad_target_is_told_in_the_failure_file(
    base: Base,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    target: list[Any],
    message: str,
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(prepared(base, {**every_kind(), "y": target})))
    assert train.main() == 1
    assert message in (base.root / "output" / "failure").read_text()
    told = capfd.readouterr().err
    assert message in told
    assert "Traceback" not in told


def test_no_rows_are_refused(base: Base) -> None:
    base.channels(MODEL, train=make_table(MODEL, every_kind()).slice(0, 0))
    with pytest.raises(JobError, match="no rows to train example on"):
        train.train(base.root)


@pytest.mark.parametrize(
    ("problem", "classes", "message"),
    [
        ("binary", 1, "has 1 classes"),
        ("binary", 3, "has 3 classes; binary takes 2"),
        ("multiclass", 1, "has 1"),
    ],
)
def test_the_number_of_classes_must_suit(
    base: Base, problem: str, classes: int, message: str
) -> None:
    model = make_model({"x": "FLOAT", "y": "INTEGER"}, "y", problem)
    rows = {"x": [float(p) for p in range(50)], "y": [p % classes for p in range(50)]}
    base.channels(model, train=make_table(model, rows))
    with pytest.raises(JobError, match=message):
        train.train(base.root)
