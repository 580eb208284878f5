"""What a cold start does not wait for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
NEEDLESS = {
    "transform_records": ("boto3", "botocore", "aws_lambda_powertools", "aws_xray_sdk", "pathlib"),
    "stream_csv": ("boto3", "aws_xray_sdk"),
}


@pytest.mark.parametrize("function", NEEDLESS)
def test_a_function_imports_nothing_it_may_not_need(function: str) -> None:
    code = f"import lambdas.{function}.handler, sys; print(*sys.modules)"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert set(NEEDLESS[function]).isdisjoint(done.stdout.split())
