"""The rules of a model file: every key with its type, bounds and default.

`check` turns a parsed TOML document into a complete one, defaults filled in, or raises one
`ModelFileError` that names everything wrong with it. It knows no dataclass: see `model.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidemill import schedule
from tidemill.errors import ModelFileError
from tidemill.reserved_words import OUR_COLUMNS, RESERVED_WORDS, SYSTEM_COLUMNS

Document = dict[str, Any]

REQUIRED: Final = object()
"""The default of a key that has none and must be given."""
ABSENT: Final = object()
"""The default of a key whose absence itself means something."""

PROBLEMS = ("regression", "binary", "multiclass")
METRICS: Final[Mapping[str, tuple[str, ...]]] = {
    "regression": ("rmse", "mae", "r2"),
    "binary": ("accuracy", "f1", "log_loss", "auc"),
    "multiclass": ("accuracy", "f1", "log_loss"),
}
"""The metrics that suit each problem."""
LOWER_IS_BETTER = frozenset({"rmse", "mae", "log_loss"})
TARGET_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "regression": ("SMALLINT", "INTEGER", "BIGINT", "REAL", "FLOAT"),
    "binary": ("VARCHAR", "SMALLINT", "INTEGER", "BIGINT", "BOOLEAN"),
    "multiclass": ("VARCHAR", "SMALLINT", "INTEGER", "BIGINT"),
}
"""The column types that a target may have for each problem."""
KINDS = (
    "VARCHAR", "SMALLINT", "INTEGER", "BIGINT", "REAL", "FLOAT", "BOOLEAN", "DATE", "TIMESTAMP",
)  # fmt: skip
COLUMN_TYPES = "VARCHAR, VARCHAR(n) with n from 1 to 65535, " + ", ".join(KINDS[1:])
DEFAULT_LENGTH = 256
MAX_LENGTH = 65535
MAX_COLUMNS = 1000
MODEL_NAME = "a to z, 0 to 9 and _, a letter first, no _ at the end, at most 40 characters"
COLUMN_NAME = "a to z, 0 to 9 and _, a letter first, at most 63 characters"
_MODEL_NAME = re.compile(r"[a-z]([a-z0-9_]{0,38}[a-z0-9])?", re.ASCII)
_COLUMN_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_COLUMN_TYPE = re.compile(r"([A-Z]+)(?:\(([0-9]{1,6})\))?", re.ASCII)
_NEAR_TYPES = {
    "INT": "INTEGER", "INT2": "SMALLINT", "INT4": "INTEGER", "INT8": "BIGINT", "DOUBLE": "FLOAT",
    "DOUBLE PRECISION": "FLOAT", "FLOAT4": "REAL", "FLOAT8": "FLOAT", "STRING": "VARCHAR",
    "TEXT": "VARCHAR", "CHAR": "VARCHAR", "BOOL": "BOOLEAN", "DATETIME": "TIMESTAMP",
}  # fmt: skip


@dataclass(frozen=True)
class Key:
    """One key of a model file: its dotted path, type, allowed values in words, and default.

    `holds` says whether a value of the right type is in bounds.
    """

    path: str
    kind: type[str] | type[int] | type[float] | type[bool]
    allowed: str
    default: Any
    holds: Callable[[Any], bool]


def _one_of(path: str, values: Iterable[str], default: Any = REQUIRED) -> Key:
    known = tuple(values)
    return Key(path, str, ", ".join(known), default, lambda value: value in known)


def _whole(path: str, low: int, high: int, default: Any) -> Key:
    allowed = f"a whole number from {low} to {high}"
    return Key(path, int, allowed, default, lambda value: low <= value <= high)


def _number(path: str, low: float, high: float, default: Any, *, open_low: bool = False) -> Key:
    allowed = f"a number {'above' if open_low else 'from'} {low:g} {'up ' * open_low}to {high:g}"
    return Key(
        path,
        float,
        allowed,
        default,
        lambda value: (low < value if open_low else low <= value) and value <= high,
    )


def _truth(path: str, default: bool) -> Key:
    return Key(path, bool, "true, false", default, lambda _: True)


KEYS: Final[tuple[Key, ...]] = (
    Key("description", str, "text of at most 1000 characters", "", lambda v: len(v) <= 1000),
    Key("target", str, "the name of one of the columns", REQUIRED, lambda _: True),
    _one_of("problem", PROBLEMS),
    _one_of("trainer.name", ["hist_gradient_boosting"], "hist_gradient_boosting"),
    _whole("trainer.seed", 0, 2**32 - 1, 0),
    _one_of("gate.metric", dict.fromkeys(m for names in METRICS.values() for m in names)),
    Key("gate.threshold", float, "a finite number", REQUIRED, math.isfinite),
    _number("gate.margin", 0, 1, 0.01),
    Key("refresh.schedule", str, schedule.EXPECTED, ABSENT, lambda _: True),
    _one_of("serving.mode", ["serverless"], "serverless"),
    Key(
        "serving.memory_mb",
        int,
        "1024, 2048, 3072, 4096, 5120, 6144",
        2048,
        lambda value: value in range(1024, 6145, 1024),
    ),
    _whole("serving.max_concurrency", 1, 200, 5),
)
"""Every key but the columns and the hyperparameters."""

HYPERPARAMETERS: Final[Mapping[str, tuple[Key, ...]]] = {
    "hist_gradient_boosting": (
        _whole("max_iter", 1, 10_000, 100),
        _number("learning_rate", 0, 1, 0.1, open_low=True),
        _whole("max_leaf_nodes", 2, 65_535, 31),
        _whole("max_depth", 1, 1000, ABSENT),
        _whole("min_samples_leaf", 1, 1_000_000, 20),
        _number("l2_regularization", 0, 1_000_000, 0.0),
        _number("max_features", 0, 1, 1.0, open_low=True),
        _whole("max_bins", 2, 255, 255),
        _truth("early_stopping", False),
        _number("validation_fraction", 0.01, 0.5, 0.1),
        _whole("n_iter_no_change", 1, 10_000, 10),
        _number("tol", 0, 1, 1e-7),
    ),
}
"""The hyperparameters of each trainer; the path is the key below trainer.hyperparameters."""

_TABLES = ("columns", "trainer", "gate", "refresh", "serving")
_TYPE_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def check(document: Mapping[str, Any], name: str, file: str) -> Document:
    """Return `document` complete: every key present that has a default, numbers as they should be.

    `name` is the model's name, `file` what errors call the file. The result has the keys
    description, target, problem, columns (name to (kind, length or None), in order), trainer,
    gate, refresh, serving. Raises ModelFileError with every problem found.
    """
    return _Check(file).complete(document, name)


class _Check:
    """One reading of one file: gathers problems, so that all are told at once."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[ModelFileError] = []

    def complete(self, document: Mapping[str, Any], name: str) -> Document:
        self.name(name)
        tables = {table: self.table(document, table) for table in _TABLES}
        hyperparameters = tables["trainer"].get("hyperparameters", {})
        if not isinstance(hyperparameters, Mapping):
            self.add("trainer.hyperparameters", "must be a table")
            hyperparameters = {}
        self.unknown(document, tables)
        result: Document = {table: {} for table in _TABLES}
        for key in KEYS:
            table, _, last = key.path.rpartition(".")
            given = tables[table] if table else document
            self.put(result[table] if table else result, key, key.path, given, last)
        result["columns"] = self.columns(tables["columns"], "columns" in document)
        trainer = result["trainer"]
        trainer["hyperparameters"] = {}
        for key in HYPERPARAMETERS.get(trainer.get("name", ""), ()):
            path = f"trainer.hyperparameters.{key.path}"
            self.put(trainer["hyperparameters"], key, path, hyperparameters, key.path)
        self.target(result, tables["columns"])
        self.gate(result)
        self.schedule(result["refresh"].get("schedule"))
        if self.errors:
            raise ModelFileError.together(self.errors)
        return result

    def add(self, key: str, rule: str, allowed: str = "") -> None:
        self.errors.append(ModelFileError(self.file, key, rule, allowed))

    def name(self, name: str) -> None:
        if not _MODEL_NAME.fullmatch(name):
            self.add("", f"the file's name makes {name!r} no name for a model", MODEL_NAME)
        elif name in RESERVED_WORDS:
            self.add("", f"the model's name {name!r} is a reserved word of the warehouse")

    def table(self, document: Mapping[str, Any], table: str) -> Mapping[str, Any]:
        given = document.get(table, {})
        if isinstance(given, Mapping):
            return given
        self.add(table, "must be a table", f"[{table}]")
        return {}

    def unknown(self, document: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> None:
        top = [key.path for key in KEYS if "." not in key.path]
        self.strangers("", document, [*top, *_TABLES])
        for table in _TABLES[1:]:
            known = [k.path.partition(".")[2] for k in KEYS if k.path.startswith(table + ".")]
            extra = ["hyperparameters"] if table == "trainer" else []
            self.strangers(table, tables[table], known + extra)
        trainer = tables["trainer"]
        trainer_name = trainer.get("name", "hist_gradient_boosting")
        parameters = HYPERPARAMETERS.get(trainer_name) if isinstance(trainer_name, str) else None
        given = trainer.get("hyperparameters", {})
        if parameters and isinstance(given, Mapping):
            self.strangers("trainer.hyperparameters", given, [key.path for key in parameters])

    def strangers(self, table: str, given: Mapping[str, Any], known: list[str]) -> None:
        for key in given:
            if key not in known:
                path = f"{table}.{key}" if table else key
                self.add(
                    path, "is not a key of a model file" + nearest(key, known), ", ".join(known)
                )

    def put(self, into: Document, key: Key, path: str, given: Mapping[str, Any], name: str) -> None:
        if name not in given:
            if key.default is REQUIRED:
                self.add(path, "is missing", key.allowed)
            elif key.default is not ABSENT:
                into[name] = key.default
            return
        value = given[name]
        if key.kind is float and type(value) is int:
            value = float(value) if abs(value) < 2**1000 else math.inf
        if type(value) is not key.kind:
            self.add(path, f"must be {_TYPE_WORDS[key.kind]}, not {value!r:.60}", key.allowed)
        elif not key.holds(value):
            hint = nearest(value, key.allowed.split(", ")) if isinstance(value, str) else ""
            self.add(path, f"cannot be {value!r:.60}{hint}", key.allowed)
        else:
            into[name] = value

    def columns(self, given: Mapping[str, Any], present: bool) -> dict[str, tuple[str, int | None]]:
        columns: dict[str, tuple[str, int | None]] = {}
        if not present:
            self.add("columns", "is missing", "a table of column names and their types")
        elif not 2 <= len(given) <= MAX_COLUMNS:
            self.add(
                "columns",
                f"has {len(given)} columns",
                f"2 to {MAX_COLUMNS}: the target and at least one feature",
            )
        for name, text in given.items():
            path = f"columns.{name}"
            if not _COLUMN_NAME.fullmatch(name):
                self.add(path, "is no name for a column", COLUMN_NAME)
            elif name in OUR_COLUMNS:
                self.add(path, "is a column that Tidemill adds to every model itself")
            elif name in RESERVED_WORDS or name in SYSTEM_COLUMNS:
                self.add(path, "is a reserved word of the warehouse: choose another name")
            column_type = self.column_type(path, text)
            if column_type is not None:
                columns[name] = column_type
        return columns

    def column_type(self, path: str, text: object) -> tuple[str, int | None] | None:
        if not isinstance(text, str):
            self.add(path, f"must be a type in quotes, not {text!r:.60}", COLUMN_TYPES)
            return None
        match = _COLUMN_TYPE.fullmatch(text.strip().upper())
        kind = match[1] if match else text.strip().upper().partition("(")[0].strip()
        if kind not in KINDS:
            near = _NEAR_TYPES.get(kind)
            hint = f"; did you mean {near}?" if near else nearest(kind, KINDS)
            self.add(path, f"{text!r:.60} is not a column type{hint}", COLUMN_TYPES)
            return None
        if match is None or (match[2] and kind != "VARCHAR"):
            self.add(path, f"{text!r:.60} is not a column type", COLUMN_TYPES)
            return None
        if kind != "VARCHAR":
            return kind, None
        length = int(match[2]) if match[2] else DEFAULT_LENGTH
        if not 1 <= length <= MAX_LENGTH:
            self.add(path, f"a VARCHAR cannot have {length} bytes", f"1 to {MAX_LENGTH} bytes")
            return None
        return kind, length

    def target(self, model: Document, given: Mapping[str, Any]) -> None:
        problem, target, columns = model.get("problem"), model.get("target"), model["columns"]
        if target is not None and given and target not in given:
            rule = f"{target!r:.80} is not one of the columns{nearest(target, given)}"
            self.add("target", rule, ", ".join(given))
        elif problem and target in columns and columns[target][0] not in TARGET_KINDS[problem]:
            rule = f"a {problem} model cannot have a target of type {columns[target][0]}"
            self.add(f"columns.{target}", rule, ", ".join(TARGET_KINDS[problem]))

    def gate(self, model: Document) -> None:
        problem = model.get("problem")
        metric, threshold = model["gate"].get("metric"), model["gate"].get("threshold")
        if problem and metric and metric not in METRICS[problem]:
            rule = f"{metric} does not suit a {problem} model"
            self.add("gate.metric", rule, ", ".join(METRICS[problem]))
        if metric is None or threshold is None:
            return
        if metric in LOWER_IS_BETTER:
            if threshold <= 0:
                self.add("gate.threshold", f"cannot be {threshold:g} for {metric}", "above 0")
        elif threshold > 1 or (threshold < 0 and metric != "r2"):
            allowed = "at most 1" if metric == "r2" else "from 0 to 1"
            self.add("gate.threshold", f"cannot be {threshold:g} for {metric}", allowed)

    def schedule(self, expression: str | None) -> None:
        wrong = schedule.problem_of(expression) if expression is not None else None
        if wrong:
            self.add("refresh.schedule", f"{expression!r:.80} {wrong}", schedule.EXPECTED)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" where a known word is near, else nothing."""
    import difflib  # Only an error needs it, and a function's cold start does not.

    by_lower = {name.lower(): name for name in known if len(name) < 64}
    near = difflib.get_close_matches(word.lower(), by_lower, 1, 0.6)
    return f"; did you mean {by_lower[near[0]]}?" if near else ""
