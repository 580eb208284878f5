"""The import time of each Lambda function over bare Python, against importing boto3 alone."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from benchmarks.pairs import line, seconds
from scripts.commands.target import PROJECT

ASSET = PROJECT / ".build" / "lambda"
CALLS_NO_SERVICE = {"transform_records"}
ROUNDS = 7
SETTINGS = (
    *("ADMIN_SECRET_ARN", "ARTEFACTS_BUCKET", "COPY_ROLE_ARN", "DATABASE", "EXTRACTOR_ROLE_NAME"),
    *("LAKE_BUCKET", "LEDGER_TABLE", "LOADER_ROLE_NAME", "NAME_PREFIX", "PROJECT_NAME"),
    *("QUEUE_URL", "REPOSITORY_NAME", "STREAM_NAME", "TOPIC_ARN", "UNLOAD_ROLE_ARN"),
    *("UPLOADS_TABLE", "WORKGROUP_NAME"),
)


def main() -> None:
    """Print a line a function. Their asset must have been built (`make setup`, then a synth)."""
    functions = sorted(path.parent.name for path in ASSET.glob("lambdas/*/handler.py"))
    statements = {name: f"import lambdas.{name}.handler" for name in functions}
    statements = {"": "pass", "boto3": "import boto3", **statements}
    times: dict[str, list[float]] = {name: [] for name in statements}
    for _ in range(ROUNDS):
        for name, statement in statements.items():
            times[name].append(seconds(lambda code=statement: _python(code)))  # type: ignore[misc]  # a bound default
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


def _python(code: str) -> None:
    # As on Lambda: compiled files are there, the asset comes first, and its settings are set.
    environment = {
        **os.environ,
        **dict.fromkeys(SETTINGS, "bench"),
        "PYTHONPATH": str(ASSET),
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
        "POWERTOOLS_SERVICE_NAME": "tidemill",
        "POWERTOOLS_METRICS_NAMESPACE": "Tidemill",
        "POWERTOOLS_TRACE_DISABLED": "1",
    }
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ASSET, env=environment)


if __name__ == "__main__":
    main()
