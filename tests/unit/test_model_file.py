"""The model file: what is taken, what is refused and how it is told."""

from __future__ import annotations

import json
import re
import string
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill import schedule
from tidemill.errors import ModelFileError, TidemillError
from tidemill.model import ColumnType, Model, load_model, load_models, parse_model
from tidemill.model_rules import (
    ABSENT,
    HYPERPARAMETERS,
    KEYS,
    KINDS,
    METRICS,
    REQUIRED,
    TARGET_KINDS,
    Key,
)
from tidemill.reserved_words import OUR_COLUMNS, RESERVED_WORDS

# A busy machine is no failure.
patiently = settings(deadline=None)
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "model-file.md").read_text()
GOOD = """
target = "y"
problem = "regression"
[columns]
x = "float"
y = "INTEGER"
[gate]
metric = "mae"
threshold = 2
"""


def parse(text: str, name: str = "good") -> Model:
    return parse_model(text, name, f"{name}.toml")


def problems(text: str, name: str = "good") -> list[tuple[str, str, str]]:
    with pytest.raises(ModelFileError) as caught:
        parse(text, name)
    error = caught.value
    assert str(error).count("\n") == len(error.others)
    return [(e.key, e.rule, e.allowed) for e in (error, *error.others)]


def test_the_models_that_ship() -> None:
    models = load_models(ROOT / "models")
    stock, iris = models["stock_price"], models["iris"]
    assert [str(c.type) for c in stock.columns] == ["VARCHAR(8)", "VARCHAR(16)", "FLOAT", "FLOAT"]
    assert (stock.target, stock.problem, stock.gate.metric) == ("price", "regression", "rmse")
    assert [c.name for c in iris.features] == [
        *("sepal_length", "sepal_width", "petal_length", "petal_width")
    ]
    assert iris.columns[-1].type == ColumnType("VARCHAR", 16)
    for model in models.values():
        assert Model.from_dict(json.loads(json.dumps(model.to_dict()))) == model


def test_defaults_are_filled_in() -> None:
    model = parse(GOOD)
    assert model.columns[0].type == ColumnType("FLOAT")
    assert model.gate.threshold == 2.0
    assert type(model.gate.threshold) is float
    assert model.gate.margin == 0.01
    assert model.gate.lower_is_better
    assert model.refresh.schedule is None
    assert model.serving.memory_mb == 2048
    assert model.trainer.hyperparameters["max_bins"] == 255
    assert "max_depth" not in model.trainer.hyperparameters


@pytest.mark.parametrize(
    ("old", "new", "key", "rule", "allowed"),
    [
        ('target = "y"', "", "target", "is missing", "columns"),
        ('target = "y"', "target = 1", "target", "must be text, not 1", "columns"),
        ('target = "y"', 'target = "yy"', "target", "'yy' is not one of the columns", "x, y"),
        ('"regression"', '"regresion"', "problem", "did you mean regression?", "binary"),
        ('"regression"', '"binary"', "gate.metric", "mae does not suit a binary", "accuracy"),
        ('"INTEGER"', '"VARCHAR"', "columns.y", "target of type VARCHAR", "SMALLINT"),
        ('"INTEGER"', '"INT"', "columns.y", "did you mean INTEGER?", "BIGINT"),
        ('"INTEGER"', '"VARCHR(3)"', "columns.y", "did you mean VARCHAR?", "BIGINT"),
        ('"INTEGER"', '"INTEGER(3)"', "columns.y", "not a column type", "BIGINT"),
        ('"float"', '"VARCHAR(0)"', "columns.x", "cannot have 0 bytes", "1 to 65535"),
        ('"float"', '"VARCHAR(65536)"', "columns.x", "cannot have 65536 bytes", "1 to 65535"),
        ('"float"', "3", "columns.x", "must be a type in quotes", "BIGINT"),
        ('x = "float"', 'User = "FLOAT"', "columns.User", "no name for a column", "a to z"),
        ('x = "float"', 'user = "FLOAT"', "columns.user", "reserved word", ""),
        ('x = "float"', 'ctid = "FLOAT"', "columns.ctid", "reserved word", ""),
        ('x = "float"', 'row_id = "FLOAT"', "columns.row_id", "adds to every model", ""),
        ('x = "float"\n', "", "columns", "has 1 columns", "2 to 1000"),
        ("threshold = 2", "threshold = nan", "gate.threshold", "cannot be nan", "finite"),
        ("threshold = 2", "threshold = 0", "gate.threshold", "cannot be 0 for mae", "above 0"),
        ("threshold = 2", "threshold = true", "gate.threshold", "must be a number", "finite"),
        ('"mae"\nthreshold = 2', '"r2"\nthreshold = 2', "gate.threshold", "for r2", "at most 1"),
        ("threshold = 2", "threshold = 2\nmargin = 1.1", "gate.margin", "cannot be 1.1", "0 to 1"),
        ("threshold = 2", "threshold = 2\nmargn = 1", "gate.margn", "mean margin?", "metric"),
        ("[gate]", "[gates]", "gates", "did you mean gate?", "serving"),
        ("[gate]", "[serving]\nmode='instance'\n[gate]", "serving.mode", "instance", "serverless"),
        ("[gate]", "[serving]\nmemory_mb=1000\n[gate]", "serving.memory_mb", "1000", "1024"),
        ("[gate]", "[trainer]\nseed=-1\n[gate]", "trainer.seed", "-1", "from 0"),
        ("[gate]", "[trainer]\nname='forest'\n[gate]", "trainer.name", "forest", "hist"),
        ("[gate]", "[refresh]\nschedule='daily'\n[gate]", "refresh.schedule", "daily", "rate(N"),
        ("[gate]", "[trainer]\nhyperparameters=1\n[gate]", "trainer.hyperparameters", "table", ""),
    ],
)  # fmt: skip
def test_an_error_names_key_rule_and_allowed(
    old: str, new: str, key: str, rule: str, allowed: str
) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new))
    assert any(k == key and rule in r and allowed in a for k, r, a in found), found


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("max_iter = 0", "max_iter"),
        ("max_iter = 1.5", "max_iter"),
        ("max_iter = true", "max_iter"),
        ("learning_rate = 0", "learning_rate"),
        ("learning_rate = inf", "learning_rate"),
        ("max_bins = 256", "max_bins"),
        ("early_stopping = 1", "early_stopping"),
        ("depth = 3", "depth"),
    ],
)
def test_hyperparameters_are_typed_and_bounded(line: str, key: str) -> None:
    found = problems(f"{GOOD}\n[trainer.hyperparameters]\n{line}")
    assert [k for k, _, _ in found] == [f"trainer.hyperparameters.{key}"]


def test_all_problems_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(GOOD.replace("2", "-1").replace('"y"', '"z"'))
    (tmp_path / "two.toml").write_text("no toml")
    (tmp_path / "Three.toml").write_bytes(b"\xff")
    with pytest.raises(ModelFileError) as caught:
        load_models(tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert all(line.startswith(str(tmp_path)) for line in lines)
    assert load_models.__doc__


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TidemillError, match="no model file"):
        load_models(tmp_path)
    with pytest.raises(ModelFileError, match="No such file"):
        load_model(tmp_path / "x.toml")
    large = tmp_path / "x.toml"
    large.write_bytes(b"#" * 300_000)
    with pytest.raises(ModelFileError, match="larger than"):
        load_model(large)
    large.write_text(GOOD.replace("\n", "\r\n"), newline="")
    assert load_model(large).target == "y"
    large.write_text(f"a = {'[' * 100_000}")
    with pytest.raises(ModelFileError, match="not valid TOML"):
        load_model(large)


@pytest.mark.parametrize("name", ["A", "1a", "a-b", "a_", "", "a" * 41, "select", "é"])
def test_names_of_models(name: str) -> None:
    assert problems(GOOD, name)[0][0] == ""
    assert parse(GOOD, "a" * 40).name


def test_every_reserved_name_is_refused_as_a_column() -> None:
    assert len(RESERVED_WORDS) > 130
    for word in RESERVED_WORDS | OUR_COLUMNS:
        assert problems(GOOD.replace("x =", f"{word} ="))[0][0] == f"columns.{word}"


def test_from_dict_refuses_what_is_no_model() -> None:
    document = parse(GOOD).to_dict()
    for change in (
        {"columns": 3},
        {"columns": [{"name": "x"}]},
        {"columns": document["columns"] + document["columns"]},
        {"gate": {}},
        {"name": "A"},
    ):
        with pytest.raises(ModelFileError):
            Model.from_dict({**document, **change})


NAMES = st.from_regex(r"\A[a-z][a-z0-9_]{0,20}\Z").filter(
    lambda name: (
        name not in RESERVED_WORDS | OUR_COLUMNS
        and name not in ("oid", "ctid", "xmin", "xmax", "cmin", "cmax", "tableoid")
    )
)


@st.composite
def model_files(draw: st.DrawFn) -> str:
    problem = draw(st.sampled_from(sorted(METRICS)))
    names = draw(st.lists(NAMES, min_size=2, max_size=6, unique=True))
    kinds = [draw(st.sampled_from(KINDS)) for _ in names]
    kinds[0] = draw(st.sampled_from(TARGET_KINDS[problem]))
    lines = [f"target = {json.dumps(names[0])}", f"problem = {json.dumps(problem)}"]
    description = draw(st.text(st.characters(exclude_categories=["C"]), max_size=50))
    lines += [f"description = {json.dumps(description, ensure_ascii=False)}", "[columns]"]
    for name, kind in zip(names, kinds, strict=True):
        length = draw(st.none() | st.integers(1, 65535)) if kind == "VARCHAR" else None
        lines.append(f'{name} = "{kind}{"" if length is None else f"({length})"}"')
    lines += ["[gate]", f'metric = "{draw(st.sampled_from(METRICS[problem]))}"']
    lines.append(f"threshold = {draw(st.floats(0.001, 1))!r}")
    lines.append(f"margin = {draw(st.floats(0, 1))!r}")
    return "\n".join(lines)


@patiently
@given(model_files())
def test_whatever_is_within_the_rules_is_taken_and_survives_json(text: str) -> None:
    model = parse(text)
    assert Model.from_dict(json.loads(json.dumps(model.to_dict()))) == model
    assert len(model.features) == len(model.columns) - 1
    assert replace(model, description="") is not model


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
KNOWN = ["name", "description", "target", "problem", "columns", "trainer", "gate", "refresh"]


@patiently
@given(st.dictionaries(st.sampled_from([*KNOWN, "serving", "x"]), VALUES, max_size=9))
def test_no_document_ends_in_another_error(document: dict[str, Any]) -> None:
    try:
        Model.from_dict(document)
    except ModelFileError as error:
        assert error.rule


@patiently
@given(st.text(st.sampled_from(string.printable), max_size=200))
def test_no_text_ends_in_another_error(text: str) -> None:
    for content in (text, GOOD + text):
        try:
            parse(content)
        except ModelFileError as error:
            assert error.file == "good.toml"


@pytest.mark.parametrize(
    "expression",
    [
        *("rate(1 minute)", "rate(5 minutes)", "rate(366 days)", "cron(0 6 * * ? *)"),
        *("cron(0/15 8-18 ? * MON-FRI *)", "cron(0 0 L * ? *)", "cron(0 0 15W 1,7 ? 2026-2030)"),
        *("cron(0 10 ? * 6#3 *)", "cron(59 23 ? DEC SUN *)", "cron(0 0 ? * 2L *)"),
    ],
)
def test_schedules(expression: str) -> None:
    assert schedule.problem_of(expression) is None


@pytest.mark.parametrize(
    "expression",
    [
        *("", "daily", "rate(1 days)", "rate(2 minute)", "rate(0 minutes)", "rate(367 days)"),
        *("rate(1.5 hours)", "rate(1 hour) ", "cron(0 6 * * *)", "cron(0 6 * * * *)", "cron()"),
        *("cron(0 6 ? * ? *)", "cron(60 6 * * ? *)", "cron(0 24 * * ? *)", "cron(0 6 32 * ? *)"),
        *("cron(0 6 * 13 ? *)", "cron(0 6 ? * 8 *)", "cron(0 6 * * ? 1969)", "cron(5-1 6 * * ? *)"),
        *("cron(0 6 * JAX ? *)", "cron(0/0 6 * * ? *)", "cron(, 6 * * ? *)", "cron(0 6 * * ? *"),
    ],
)
def test_bad_schedules(expression: str) -> None:
    assert schedule.problem_of(expression)


@patiently
@given(st.text(st.sampled_from("rate(cron) 0123456789*?/-#,LWMONJAdhysminute"), max_size=40))
def test_a_schedule_is_right_or_wrong(expression: str) -> None:
    for text in (expression, f"cron({expression})", f"rate({expression})"):
        assert schedule.problem_of(text) in (None, schedule.problem_of(text))


WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def documented(key: Key) -> str:
    if key.default is REQUIRED:
        default = "required"
    elif key.default is ABSENT:
        default = "none"
    else:
        default = f"`{json.dumps(key.default)}`" if key.kind is bool else f"`{key.default}`"
        default = '`""`' if key.default == "" else default
    allowed = key.allowed.replace("|", "\\|")
    return f"| `{key.path}` | {WORDS[key.kind]} | {allowed} | {default} |"


ALL_KEYS = [*KEYS, *(key for keys in HYPERPARAMETERS.values() for key in keys)]


@pytest.mark.parametrize("key", ALL_KEYS, ids=lambda key: key.path)
def test_every_key_is_documented_as_it_is(key: Key) -> None:
    assert documented(key) in PAGE.splitlines()


def test_the_page_documents_nothing_else() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    types = ["VARCHAR(n)", *KINDS[1:]]
    assert sorted(rows) == sorted([key.path for key in ALL_KEYS] + types)
    for problem, metrics in METRICS.items():
        assert f"{', '.join(metrics[:-1])} or {metrics[-1]}" in " ".join(PAGE.split()), problem


def test_the_example_of_the_page_works_and_its_errors_are_real() -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example
    assert parse(example[1], "house_price").target == "price"
    with pytest.raises(ModelFileError) as caught:
        parse_model(
            example[1].replace("metric", "metrik"), "house_price", "models/house_price.toml"
        )
    assert all(f"    {line}\n" in PAGE for line in str(caught.value).splitlines())


def test_importing_a_model_imports_little() -> None:
    code = (
        "import sys, tidemill.model as m; m.load_models('models');"
        "print(*[n for n in ('difflib', 'boto3', 'pydantic', 'json', 'typing_extensions') "
        "if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout.split() == []
