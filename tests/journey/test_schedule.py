"""The schedule of a model file starts a run on the deployed stacks."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from local import cloud
from scripts.generate_data import write_stock_price

from .conftest import Journey

DAY = 24 * 3600


def executions(journey: Journey) -> dict[str, list[dict[str, Any]]]:
    """By model: the executions that the schedule started, oldest first."""
    client = journey.target.client("stepfunctions")
    machine = journey.target.outputs["StateMachineArn"]
    found: dict[str, list[dict[str, Any]]] = {}
    for each in reversed(client.list_executions(stateMachineArn=machine)["executions"]):
        described = client.describe_execution(executionArn=each["executionArn"])
        given = json.loads(described["input"])
        if given.get("reason") == "schedule":
            found.setdefault(given["model"], []).append(described)
    return found


def test_a_run_starts_when_its_models_schedule_is_due(journey: Journey, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    write_stock_price(file, 3_000)
    journey.json("stream", "stock_price", str(file))
    running = cloud.find(journey.state)
    assert running is not None
    before = len(executions(journey).get("stock_price", []))
    running.advance(DAY + 60)
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        time.sleep(0.5)
        # Runs of other models are due too: what comes after this test finds none of them under way.
        found = executions(journey)
        runs = found.get("stock_price", [])[before:]
        if runs and not any(run["status"] == "RUNNING" for each in found.values() for run in each):
            break
    assert [run["status"] for run in runs] == ["SUCCEEDED"]
    assert json.loads(runs[0]["output"])["decision"] in ("released", "rejected")
