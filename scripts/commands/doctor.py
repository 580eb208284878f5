"""`doctor`: what a target needs, each thing checked, with the way out where it is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec

from scripts.commands.console import CommandError, Console
from scripts.commands.target import AWS, PROJECT, Target, tools_path


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    subject: str
    good: bool
    found: str
    mend: str = ""


def doctor(target: Target, console: Console) -> None:
    """Check everything and print it. Raises `CommandError` where something is missing."""
    findings = [_python(), _node(), _cdk(), _models(target), _disk(target)]
    findings.append(_aws(target) if target.name == AWS else _cloud(target))
    lines = []
    for finding in findings:
        mark = "ok  " if finding.good else "FAIL"
        lines.append(f"{mark} {finding.subject:<12} {finding.found}")
        if not finding.good:
            lines.append(f"     {'':<12} {finding.mend}")
    good = all(finding.good for finding in findings)
    console.result({"good": good, "findings": [asdict(f) for f in findings]}, lines)
    if not good:
        raise CommandError("not all is well", "see the lines marked FAIL")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    missing = [n for n in ("aws_cdk", "boto3", "duckdb", "ministack") if find_spec(n) is None]
    found = f"{version}, without {', '.join(missing)}" if missing else version
    return Finding("python", sys.version_info >= (3, 11) and not missing, found, "run: make setup")


def _node() -> Finding:
    return _tool("node", ["node", "--version"])


def _cdk() -> Finding:
    wanted = json.loads((PROJECT / "package.json").read_text())["devDependencies"]["aws-cdk"]
    command = str(PROJECT / "node_modules" / ".bin" / "cdk")
    finding = _tool("cdk", [command, "--version"])
    if finding.good and not finding.found.startswith(wanted):
        return Finding("cdk", False, f"{finding.found}, not {wanted}", "run: make setup")
    return finding


def _tool(name: str, command: list[str]) -> Finding:
    try:
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={**os.environ, "PATH": tools_path()},
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(name, False, str(error), "run: make setup")
    return Finding(name, True, answer.stdout.strip())


def _models(target: Target) -> Finding:
    from tidemill.errors import TidemillError
    from tidemill.model import load_models

    try:
        models = load_models(target.models_directory)
    except TidemillError as error:
        return Finding("models", False, str(error), "see docs/model-file.md")
    return Finding("models", bool(models), ", ".join(models) or "none", "see docs/model-file.md")


def _disk(target: Target) -> Finding:
    place = target.directory if target.directory.exists() else PROJECT
    free = shutil.disk_usage(place).free / 1e9
    return Finding("disk", free > 2, f"{free:.0f} GB free", "the local cloud wants 2 GB")


def _cloud(target: Target) -> Finding:
    from local import cloud

    running = cloud.find(target.directory)
    if running is None:
        return Finding("local cloud", True, "not running; tidemill up starts it")
    return _answered("local cloud", running.endpoint_url, lambda: _identity(target))


def _aws(target: Target) -> Finding:
    return _answered("credentials", "", lambda: _identity(target))


def _identity(target: Target) -> str:
    identity = target.client("sts").get_caller_identity()
    return f"{identity['Arn']} in {target.session.region_name}"


def _answered(subject: str, where: str, ask: Callable[[], str]) -> Finding:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return Finding(subject, True, f"{where} {ask()}".strip())
    except (BotoCoreError, ClientError) as error:
        mend = "sign in again, or restart: tidemill down, then tidemill up"
        return Finding(subject, False, str(error), mend)
