"""One local cloud with every stack deployed by the real command, shared by the journey's tests."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scripts.commands.target import LOCAL, Target

PROJECT = Path(__file__).resolve().parents[2]

DIABETES = """
description = "Disease progression one year after baseline, on scikit-learn's diabetes data"
target = "progression"
problem = "regression"

[columns]
{columns}
progression = "FLOAT"

[trainer]
name = "hist_gradient_boosting"
seed = 1

[gate]
metric = "rmse"
threshold = 90.0
margin = 0.05
"""
HOPELESS = "hopeless"
"""A model whose gate nothing passes: stock_price with a threshold that no noise allows."""
DIABETES_FEATURES = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]


@dataclass(frozen=True)
class Journey:
    """The command, run as a user runs it, on one state folder and one folder of models."""

    state: Path
    models: Path

    def run(self, *words: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run `tidemill` with the words."""
        places = ["--state", str(self.state), "--models-dir", str(self.models)]
        return subprocess.run(
            [sys.executable, "-m", "scripts.tidemill", *words, *places],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def json(self, *words: str, timeout: float = 600) -> dict[str, Any]:
        """The JSON document that the command prints; its failure fails the test."""
        answer = self.run(*words, "--json", timeout=timeout)
        assert answer.returncode == 0, f"{words}\n{answer.stderr}\n{answer.stdout}"
        document: dict[str, Any] = json.loads(answer.stdout)
        return document

    @property
    def target(self) -> Target:
        """The deployed cloud, for questions that no command answers."""
        return Target(LOCAL, "dev", self.state, self.models)


@pytest.fixture(scope="session")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    models = tmp_path_factory.mktemp("models")
    for file in (PROJECT / "models").glob("*.toml"):
        shutil.copy(file, models)
    columns = "\n".join(f'{name} = "FLOAT"' for name in DIABETES_FEATURES)
    (models / "diabetes.toml").write_text(DIABETES.format(columns=columns))
    hopeless, changed = re.subn(
        r"(?m)^threshold = .*$", "threshold = 0.001", (models / "stock_price.toml").read_text()
    )
    assert changed
    (models / f"{HOPELESS}.toml").write_text(hopeless)
    # For rows that no model should learn from.
    shutil.copy(models / "stock_price.toml", models / "scratch.toml")
    made = Journey(tmp_path_factory.mktemp("state"), models)
    try:
        made.json("up", timeout=600)
        yield made
    finally:
        made.run("down", "--wipe")
