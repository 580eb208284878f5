"""Runs that end otherwise than with a release: whatever happens, the champion serves and the next
run can begin."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scripts.generate_data import write_stock_price

from .conftest import HOPELESS, Journey
from .test_strict_mode import without

ASKED = '{"ticker_symbol": "AMZN", "sector": "TECHNOLOGY", "change": 0.5}'


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    write_stock_price(file, 6_000)
    return file


@pytest.fixture(scope="module")
def champion(journey: Journey, rows: Path) -> Journey:
    """With a champion of stock_price."""
    journey.json("stream", "stock_price", str(rows))
    if not entry(journey, "CHAMPION"):
        assert journey.json("refresh", "stock_price")["decision"] == "released"
    return journey


def served(journey: Journey) -> int:
    """The version that answers."""
    return int(journey.json("predict", "stock_price", ASKED)["version"])


def entry(journey: Journey, sort: str) -> dict[str, Any]:
    """One item of stock_price's ledger, empty where there is none."""
    answer = journey.target.client("dynamodb").get_item(
        TableName=journey.target.outputs["LedgerTable"],
        Key={"pk": {"S": "MODEL#stock_price"}, "sk": {"S": sort}},
        ConsistentRead=True,
    )
    return {name: next(iter(value.values())) for name, value in answer.get("Item", {}).items()}


def stopped_in(journey: Journey, state: str) -> str:
    """Start a run of stock_price and stop its execution once it enters `state`; its run id."""
    states = journey.target.client("stepfunctions")
    execution = states.start_execution(
        stateMachineArn=journey.target.outputs["StateMachineArn"],
        input=json.dumps({"model": "stock_price", "reason": "manual"}),
    )["executionArn"]
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        events = states.get_execution_history(executionArn=execution, maxResults=1000)["events"]
        if state in (event.get("stateEnteredEventDetails", {}).get("name") for event in events):
            break
        time.sleep(0.05)
    run_id = entry(journey, "LOCK")["run_id"]
    states.stop_execution(executionArn=execution, error="Test", cause="stopped by a test")
    assert states.describe_execution(executionArn=execution)["status"] == "ABORTED"
    return str(run_id)


@contextmanager
def deaf(journey: Journey) -> Iterator[None]:
    """Nobody hears that an execution ended."""
    events = journey.target.client("events")
    (rule,) = (r["Name"] for r in events.list_rules()["Rules"] if "closerun" in r["Name"])
    events.disable_rule(Name=rule)
    try:
        yield
    finally:
        events.enable_rule(Name=rule)


def test_a_rejected_version_is_told_with_its_numbers_and_serves_nobody(
    journey: Journey, rows: Path
) -> None:
    journey.json("stream", HOPELESS, str(rows))
    run = journey.json("refresh", HOPELESS)
    assert run["decision"] == "rejected"
    (failed,) = (reason for reason in run["reasons"] if not reason["passed"])
    assert failed["rule"] == "threshold"
    assert failed["challenger"] == run["metrics"]["rmse"] > failed["limit"] > 0
    assert f"{failed['challenger']:.3g}"[:3] in failed["text"]
    assert "CreateModel" not in run["states"]
    answer = journey.run("predict", HOPELESS, ASKED)
    assert answer.returncode == 1
    assert "503" in answer.stderr


def test_a_stopped_run_is_closed_and_the_next_one_succeeds(champion: Journey) -> None:
    version = served(champion)
    run_id = stopped_in(champion, "Train")
    limit = time.monotonic() + 30
    while entry(champion, "LOCK") and time.monotonic() < limit:
        time.sleep(0.1)
    assert not entry(champion, "LOCK")
    closed = entry(champion, f"RUN#{run_id}")
    assert closed["state"] == "failed"
    assert "ABORTED" in closed["error"]
    assert served(champion) == version
    assert champion.json("refresh", "stock_price")["decision"] in ("released", "rejected")


def test_a_run_that_died_unheard_with_the_endpoint_half_changed_is_taken_over(
    champion: Journey,
) -> None:
    with deaf(champion):
        run_id = stopped_in(champion, "WaitForRelease")
        assert entry(champion, "LOCK")["run_id"] == run_id
        run = champion.json("refresh", "stock_price")
    assert entry(champion, f"RUN#{run_id}")["state"] == "failed"
    assert run["decision"] in ("released", "rejected")
    assert served(champion) == int(entry(champion, "CHAMPION")["version"])
    assert not entry(champion, "LOCK")


def test_a_release_that_fails_brings_the_champion_back(champion: Journey) -> None:
    version = served(champion)
    with without(champion, "refresh", "FunctionsverifyreleaseRole", "s3:GetObject"):
        answer = champion.run("refresh", "stock_price")
    assert answer.returncode == 1
    assert "VerifyRelease" in answer.stderr
    assert served(champion) == version
    last = int(entry(champion, "COUNTER")["last"])
    assert entry(champion, f"VERSION#{last:08d}")["state"] == "failed"
    assert not entry(champion, "LOCK")


def test_a_body_that_breaks_the_schema_is_refused_by_the_api_itself(champion: Journey) -> None:
    for body in ('{"ticker_symbol": "AMZN", "volume": 3}', '{"change": "much"}', "[]", "{}"):
        answer = champion.run("predict", "stock_price", body)
        assert answer.returncode == 1
        assert "400" in answer.stderr
        assert "the model's features and no others" in answer.stderr
