"""The command's manners: exit codes, errors that say what to do next, and `--json`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def tidemill(*arguments: str, state: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.tidemill", *arguments]
    if arguments and not arguments[0].startswith("-"):
        command += ["--state", str(state)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    "arguments",
    [
        ["sream"],
        ["stream", "stock_price"],
        ["up", "--target", "mars"],
        ["logs", "x", "--minutes", "0"],
    ],
    ids=["unknown command", "missing argument", "unknown target", "out of bounds"],
)
def test_wrong_usage_exits_2(arguments: list[str], tmp_path: Path) -> None:
    assert tidemill(*arguments, state=tmp_path).returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["stream", "stock_price", "samples/stock_price.csv"],
        ["refresh", "stock_price"],
        ["predict", "stock_price", "{}"],
        ["logs", "stream_csv"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_without_a_cloud_every_command_fails_and_says_how_to_start_one(
    arguments: list[str], tmp_path: Path
) -> None:
    answer = tidemill(*arguments, state=tmp_path)
    assert answer.returncode == 1
    assert "no local cloud is running" in answer.stderr
    assert "tidemill up" in answer.stderr
    assert answer.stdout == ""


def test_an_unknown_model_is_named_with_those_there_are(tmp_path: Path) -> None:
    answer = tidemill("refresh", "stock_prize", state=tmp_path)
    assert answer.returncode == 1
    assert "stock_prize" in answer.stderr
    assert "stock_price" in answer.stderr


def test_down_without_a_cloud_is_no_failure(tmp_path: Path) -> None:
    answer = tidemill("down", "--json", state=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == {"stopped": False, "wiped": False}


def test_doctor_finds_the_tools_and_the_models(tmp_path: Path) -> None:
    answer = tidemill("doctor", "--json", state=tmp_path)
    assert answer.returncode == 0, answer.stderr + answer.stdout
    findings = {finding["subject"]: finding for finding in json.loads(answer.stdout)["findings"]}
    assert findings["node"]["found"].startswith("v")
    assert "stock_price" in findings["models"]["found"]


def test_doctor_names_a_model_file_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("target = 1\n")
    answer = tidemill("doctor", "--models-dir", str(tmp_path), state=tmp_path)
    assert answer.returncode == 1
    assert "bad.toml" in answer.stdout
