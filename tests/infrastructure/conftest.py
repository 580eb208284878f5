"""The app as the CDK synthesizes it, once for each set of settings."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
Resource = dict[str, Any]


@dataclass(frozen=True)
class Assembly:
    """What a synth wrote."""

    folder: Path

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.template.json"))

    @functools.cached_property
    def templates(self) -> dict[str, Any]:
        """By module: ingestion, warehouse, refresh, inference."""
        return {
            path.name.removesuffix(".template.json").rpartition("-")[2]: json.loads(
                path.read_text()
            )
            for path in self.files
        }

    def all(self, resource_type: str) -> dict[str, Resource]:
        """The resources of a type in every stack, by `module/logical id`."""
        return {
            f"{module}/{name}": resource
            for module, template in self.templates.items()
            for name, resource in template["Resources"].items()
            if resource["Type"] == resource_type
        }


def run_app(
    folder: Path, *, wrapper: tuple[str, ...] = (), **context: str
) -> subprocess.CompletedProcess[str]:
    """Run app.py as the CDK command does, with settings in its context."""
    configured = json.loads((ROOT / "cdk.json").read_text())["context"]
    settings = {f"tidemill:{name}": value for name, value in context.items()}
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))
    }
    environment |= {
        "CDK_OUTDIR": str(folder),
        "CDK_CONTEXT_JSON": json.dumps(configured | settings),
    }
    return subprocess.run(
        [*wrapper, sys.executable, str(ROOT / "app.py")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


# The settings that differ most from the defaults; a second synth is too slow for every run.
PROD = {"stage": "prod", "api_auth": "key", "alarm_email": "owner@example.com"}
VARIANTS = [
    pytest.param({}, id="defaults"),
    pytest.param(PROD, id="prod", marks=pytest.mark.slow),
]
# Takes the network away from a process.
ISOLATION = ("unshare", "--map-root-user", "--net")


@functools.cache
def can_isolate() -> bool:
    """Whether this machine lets anybody take the network away."""
    if not shutil.which(ISOLATION[0]):
        return False
    tried = subprocess.run([*ISOLATION, "true"], capture_output=True, check=False)
    return tried.returncode == 0


@pytest.fixture(scope="session")
def synth(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Assembly]:
    """Synthesizes the app with the settings given, once for each, without a network."""
    made: dict[str, Assembly] = {}

    def make(**context: str) -> Assembly:
        key = json.dumps(context, sort_keys=True)
        if key not in made:
            folder = tmp_path_factory.mktemp("cdk.out")
            done = run_app(folder, wrapper=ISOLATION if can_isolate() else (), **context)
            assert done.returncode == 0, done.stdout + done.stderr
            made[key] = Assembly(folder)
        return made[key]

    return make


@pytest.fixture(scope="session")
def assembly(synth: Callable[..., Assembly]) -> Assembly:
    """The app with its default settings."""
    return synth()
