"""The import time of each Lambda function over bare Python, against importing boto3 alone."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.pairs import line, seconds
from scripts import build_assets

CALLS_NO_SERVICE = {"transform_records"}
ROUNDS = 7
SETTINGS = (
    *("ADMIN_SECRET_ARN", "ARTEFACTS_BUCKET", "COPY_ROLE_ARN", "DATABASE", "EXTRACTOR_ROLE_NAME"),
    *("LAKE_BUCKET", "LEDGER_TABLE", "LOADER_ROLE_NAME", "NAME_PREFIX", "PROJECT_NAME"),
    *("QUEUE_URL", "REPOSITORY_NAME", "STREAM_NAME", "TOPIC_ARN", "UNLOAD_ROLE_ARN"),
    *("UPLOADS_TABLE", "WORKGROUP_NAME"),
)


def main() -> None:
    """Build the functions' asset in a folder of its own and print a line a function."""
    with tempfile.TemporaryDirectory() as folder:
        asset = build_assets.build(target=Path(folder)).functions
        _measure(asset)


def _measure(asset: Path) -> None:
    functions = sorted(path.parent.name for path in asset.glob("lambdas/*/handler.py"))
    statements = {name: f"import lambdas.{name}.handler" for name in functions}
    statements = {"": "pass", "boto3": "import boto3", **statements}
    times: dict[str, list[float]] = {name: [] for name in statements}
    for _ in range(ROUNDS + 1):
        for name, statement in statements.items():
            times[name].append(seconds(lambda code=statement: _python(asset, code)))  # type: ignore[misc]  # a bound default
    times = {name: measured[1:] for name, measured in times.items()}  # the first one compiles
    bare = statistics.median(times.pop(""))
    boto3 = statistics.median(times.pop("boto3")) - bare
    for name, measured in times.items():
        spent = statistics.median(measured) - bare
        aim = 0.3 if name in CALLS_NO_SERVICE else 1.15
        line(
            f"import {name} / import boto3",
            f"{spent / boto3:.2f}  ({spent * 1000:.0f} / {boto3 * 1000:.0f} ms)",
            f"aim {aim}",
        )


def _python(asset: Path, code: str) -> None:
    # As on Lambda: compiled files are there, the asset comes first, and its settings are set.
    environment = {
        **os.environ,
        **dict.fromkeys(SETTINGS, "bench"),
        "PYTHONPATH": str(asset),
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
        "POWERTOOLS_SERVICE_NAME": "tidemill",
        "POWERTOOLS_METRICS_NAMESPACE": "Tidemill",
        "POWERTOOLS_TRACE_DISABLED": "1",
    }
    subprocess.run([sys.executable, "-c", code], check=True, cwd=asset, env=environment)


if __name__ == "__main__":
    main()
