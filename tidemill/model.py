"""A model: the thing kept fresh, as its file in `models/` defines it.

Every function here is free of cloud libraries and quick to import: Lambda functions load the
models at each cold start. The rules of the file are in `model_rules.py`.
"""

# A cold start would wait for pathlib longer than for any module of ours.
# ruff: noqa: PTH112, PTH118, PTH119, PTH122, PTH123, PTH208

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tidemill import model_rules
from tidemill.errors import ModelFileError, TidemillError

if TYPE_CHECKING:
    from pathlib import Path  # A cold start need not wait for it.

MAX_FILE_BYTES = 256 * 1024


@dataclass(frozen=True)
class ColumnType:
    """A column's type: `kind` as in Redshift; `length` in bytes of UTF-8, for VARCHAR alone."""

    kind: str
    length: int | None = None

    def __str__(self) -> str:
        return self.kind if self.length is None else f"{self.kind}({self.length})"


@dataclass(frozen=True)
class Column:
    """A column of a model; `feature` is false for the target."""

    name: str
    type: ColumnType
    feature: bool


@dataclass(frozen=True)
class Trainer:
    """What trains a version. `hyperparameters` are complete and typed; those without a value
    (an unlimited `max_depth`) are absent."""

    name: str
    seed: int
    hyperparameters: Mapping[str, int | float | bool]


@dataclass(frozen=True)
class Gate:
    """What a version must reach: `threshold` is the most an error (rmse, mae, log_loss) may be,
    the least another metric may be; `margin` the share it may be worse than the champion."""

    metric: str
    threshold: float
    margin: float

    @property
    def lower_is_better(self) -> bool:
        """Whether the metric is an error."""
        return self.metric in model_rules.LOWER_IS_BETTER


@dataclass(frozen=True)
class Refresh:
    """What starts a run: an EventBridge schedule expression, or None for by hand only."""

    schedule: str | None


@dataclass(frozen=True)
class Serving:
    """How a version is served: the endpoint's mode, memory in MB and concurrent requests."""

    mode: str
    memory_mb: int
    max_concurrency: int


@dataclass(frozen=True)
class Model:
    """A model as its file defines it. `columns` are in the order of the CSV files."""

    name: str
    description: str
    target: str
    problem: str
    columns: tuple[Column, ...]
    trainer: Trainer
    gate: Gate
    refresh: Refresh
    serving: Serving

    @cached_property
    def features(self) -> tuple[Column, ...]:
        """The columns but the target."""
        return tuple(column for column in self.columns if column.feature)

    def to_dict(self) -> dict[str, Any]:
        """Return the model as a JSON document that `from_dict` reads back."""
        return {
            "name": self.name,
            "description": self.description,
            "target": self.target,
            "problem": self.problem,
            # A list, since a JSON object's order is not everybody's to keep.
            "columns": [{"name": c.name, "type": str(c.type)} for c in self.columns],
            "trainer": {
                "name": self.trainer.name,
                "seed": self.trainer.seed,
                "hyperparameters": dict(self.trainer.hyperparameters),
            },
            "gate": {
                "metric": self.gate.metric,
                "threshold": self.gate.threshold,
                "margin": self.gate.margin,
            },
            "refresh": {} if self.refresh.schedule is None else {"schedule": self.refresh.schedule},
            "serving": {
                "mode": self.serving.mode,
                "memory_mb": self.serving.memory_mb,
                "max_concurrency": self.serving.max_concurrency,
            },
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Model:
        """Read what `to_dict` wrote; the rules are those of the file.

        Raises ModelFileError.
        """
        rest = dict(document)
        name = str(rest.pop("name", ""))
        file = f"model {name!r}"
        try:
            columns = {column["name"]: column["type"] for column in rest["columns"]}
        except (KeyError, TypeError) as error:
            rule = "must be a list of objects with name and type"
            raise ModelFileError(file, "columns", rule) from error
        if len(columns) != len(rest["columns"]):
            raise ModelFileError(file, "columns", "names a column twice")
        return _build(name, model_rules.check({**rest, "columns": columns}, name, file))


def _build(name: str, checked: Mapping[str, Any]) -> Model:
    target = checked["target"]
    return Model(
        name=name,
        description=checked["description"],
        target=target,
        problem=checked["problem"],
        columns=tuple(
            Column(column, ColumnType(kind, length), column != target)
            for column, (kind, length) in checked["columns"].items()
        ),
        trainer=Trainer(**checked["trainer"]),
        gate=Gate(**checked["gate"]),
        refresh=Refresh(checked["refresh"].get("schedule")),
        serving=Serving(**checked["serving"]),
    )


def parse_model(text: str, name: str, file: str) -> Model:
    """Read the text of a model file; `file` is what errors call it.

    Raises ModelFileError.
    """
    import tomllib  # Containers read models from JSON alone.

    try:
        document = tomllib.loads(text)
    # An absurdly nested file ends the parser's recursion, an absurdly long number its int().
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ModelFileError(file, "", f"is not valid TOML: {error}") from error
    return _build(name, model_rules.check(document, name, file))


def load_model(path: Path | str) -> Model:
    """Read a model file; its stem is the model's name.

    Raises ModelFileError, also where the file is missing or no UTF-8 text.
    """
    stem = os.path.splitext(os.path.basename(path))[0]
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ModelFileError(str(path), "", f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ModelFileError(str(path), "", f"is larger than {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ModelFileError(str(path), "", f"is not UTF-8 text: {error}") from error
    return parse_model(text.replace("\r\n", "\n"), stem, str(path))


def load_models(directory: Path | str) -> dict[str, Model]:
    """Read every `*.toml` of a folder, by name in alphabetical order.

    Raises ModelFileError with the problems of all files, TidemillError where there is no file.
    """
    models: dict[str, Model] = {}
    errors: list[ModelFileError] = []
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    for name in (name for name in names if name.endswith(".toml")):
        try:
            model = load_model(os.path.join(directory, name))
            models[model.name] = model
        except ModelFileError as error:
            errors.append(error)
    if errors:
        raise ModelFileError.together(errors)
    if not models:
        raise TidemillError(
            f"no model file (*.toml) in {directory}: write one, see docs/model-file.md"
        )
    return models
