from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from lambdas.adapters.ledger import Ledger, LedgerError, LostLockError
from tidemill.ledger import Champion, RunState, VersionState
from tidemill.run import Request, RunInProgressError

ASK = Request("iris", "manual", "ada")
ONE = Champion(1, "r1", "s3://a/1", "c1")
TWO = Champion(2, "r2", "s3://a/2", "c2")


@pytest.fixture
def ledger(aws: None) -> Ledger:
    return Ledger("ledger")


@pytest.fixture
def items(
    ledger_items: Callable[..., list[dict[str, Any]]],
) -> Callable[[str], list[dict[str, Any]]]:
    return lambda prefix: ledger_items(prefix, "iris")


def register(ledger: Ledger, run: str, state: VersionState = VersionState.REGISTERED) -> int:
    ledger.open_run(ASK, run, f"arn:{run}")
    number = ledger.allot_version("iris", run)
    ledger.record_version("iris", number, state, {"run_id": run})
    return number


def test_one_run_holds_the_lock_and_may_take_it_again(ledger: Ledger, items: Any) -> None:
    ledger.open_run(ASK, "r1", "arn:r1")
    ledger.open_run(ASK, "r1", "arn:r1")
    with pytest.raises(RunInProgressError, match="run r1 since 20"):
        ledger.open_run(ASK, "r2", "arn:r2")
    ledger.open_run(Request("other", "manual", "ada"), "r3", "arn:r3")
    assert [run["run_id"] for run in items("RUN#")] == ["r1"]


def test_numbers_have_no_gap_and_stay_a_runs_own(ledger: Ledger) -> None:
    numbers = []
    for run in ("r1", "r2", "r3"):
        ledger.open_run(ASK, run, f"arn:{run}")
        numbers += [ledger.allot_version("iris", run) for _ in range(3)]
        ledger.close("iris", run, f"arn:{run}", RunState.REJECTED)
    assert numbers == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_a_run_that_never_opened_gets_no_number(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="never opened"):
        ledger.allot_version("iris", "r9")


def test_calls_at_once_get_one_number(ledger: Ledger) -> None:
    ledger.open_run(ASK, "r1", "arn:r1")
    numbers: list[int] = []
    threads = [
        threading.Thread(target=lambda: numbers.append(ledger.allot_version("iris", "r1")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers == [1, 1, 1, 1]


def test_a_version_is_recorded_once_and_for_its_run(ledger: Ledger, items: Any) -> None:
    register(ledger, "r1")
    ledger.record_version("iris", 1, VersionState.REGISTERED, {"run_id": "r1"})
    assert len(items("EVENT#")) == 1
    with pytest.raises(LedgerError, match="another run's"):
        ledger.record_version("iris", 1, VersionState.REGISTERED, {"run_id": "r2"})


def test_numbers_are_kept_exactly_and_what_is_none_as_text(ledger: Ledger, items: Any) -> None:
    ledger.open_run(ASK, "r1", "arn:r1")
    details = {"run_id": "r1", "metrics": {"rmse": 3.746, "auc": None, "x": float("nan")}}
    ledger.record_version("iris", 1, VersionState.REJECTED, details | {"reasons": [{"limit": 0.1}]})
    [version] = items("VERSION#")
    assert float(version["metrics"]["rmse"]) == 3.746
    assert version["metrics"]["auc"] is None and version["metrics"]["x"] == "nan"
    assert float(version["reasons"][0]["limit"]) == 0.1


def test_promotion_is_one_step_and_may_be_repeated(ledger: Ledger, items: Any) -> None:
    register(ledger, "r1")
    ledger.promote("iris", ONE, None, "arn:r1")
    ledger.promote("iris", ONE, None, "arn:r1")
    assert ledger.champion("iris") == ONE
    ledger.close("iris", "r1", "arn:r1", RunState.RELEASED)
    register(ledger, "r2")
    ledger.promote("iris", TWO, ONE, "arn:r2")
    assert ledger.champion("iris") == TWO
    assert [v["state"] for v in items("VERSION#")] == ["retired", "champion"]
    assert [e["kind"] for e in items("EVENT#")].count("promoted") == 2


def test_nobody_is_promoted_without_the_lock(ledger: Ledger, items: Any) -> None:
    register(ledger, "r1")
    with pytest.raises(LostLockError):
        ledger.promote("iris", ONE, None, "arn:other")
    assert ledger.champion("iris") is None
    assert [v["state"] for v in items("VERSION#")] == ["registered"]


@pytest.mark.parametrize("former", [None, Champion(9, "r9", "s3://a/9", "c9")])
def test_nobody_is_promoted_past_another_champion(ledger: Ledger, former: Champion | None) -> None:
    register(ledger, "r1")
    ledger.promote("iris", ONE, None, "arn:r1")
    ledger.close("iris", "r1", "arn:r1", RunState.RELEASED)
    register(ledger, "r2")
    with pytest.raises(LedgerError, match="cannot follow"):
        ledger.promote("iris", TWO, former, "arn:r2")
    assert ledger.champion("iris") == ONE


def test_a_rejected_version_is_never_promoted(ledger: Ledger) -> None:
    register(ledger, "r1", VersionState.REJECTED)
    with pytest.raises(LedgerError, match="cannot follow"):
        ledger.promote("iris", ONE, None, "arn:r1")


def test_closing_again_changes_nothing(ledger: Ledger, items: Any) -> None:
    register(ledger, "r1")
    assert ledger.close("iris", "r1", "arn:r1", RunState.FAILED, "it broke")
    before = items("")
    assert not ledger.close("iris", "r1", "arn:r1", RunState.FAILED, "it broke again")
    assert not ledger.close("iris", "r1", "arn:r1", RunState.RELEASED)
    assert items("") == before
    assert before[-1]["state"] == "failed"


def test_a_run_that_never_opened_is_recorded_as_failed(ledger: Ledger, items: Any) -> None:
    ledger.open_run(ASK, "r1", "arn:r1")
    assert ledger.close("iris", "r2", "arn:r2", RunState.FAILED, "locked")
    assert [run["state"] for run in items("RUN#")] == ["running", "failed"]
    held = ledger.lock("iris")
    assert held and held.run_id == "r1"


def test_a_run_that_lost_its_lock_does_not_release_anothers(ledger: Ledger) -> None:
    ledger.open_run(ASK, "r1", "arn:r1")
    ledger.close("iris", "r1", "arn:r1", RunState.FAILED, "taken over")
    ledger.open_run(ASK, "r2", "arn:r2")
    assert not ledger.close("iris", "r1", "arn:r1", RunState.FAILED, "late")
    held = ledger.lock("iris")
    assert held and held.run_id == "r2"


def test_a_promotion_that_was_not_heard_of_is_taken_back(ledger: Ledger, items: Any) -> None:
    register(ledger, "r1")
    ledger.promote("iris", ONE, None, "arn:r1")
    ledger.close("iris", "r1", "arn:r1", RunState.RELEASED)
    register(ledger, "r2")
    ledger.promote("iris", TWO, ONE, "arn:r2")
    assert ledger.close("iris", "r2", "arn:r2", RunState.FAILED, "PromoteVersion timed out")
    assert ledger.champion("iris") == ONE
    assert [v["state"] for v in items("VERSION#")] == ["champion", "failed"]


def test_a_first_promotion_that_was_not_heard_of_leaves_no_champion(ledger: Ledger) -> None:
    register(ledger, "r1")
    ledger.promote("iris", ONE, None, "arn:r1")
    ledger.close("iris", "r1", "arn:r1", RunState.FAILED, "PromoteVersion timed out")
    assert ledger.champion("iris") is None


def test_how_far_a_dead_run_had_come(ledger: Ledger) -> None:
    ledger.open_run(ASK, "r1", "arn:r1")
    assert ledger.state_of_ended("iris", "r1") is RunState.FAILED
    number = ledger.allot_version("iris", "r1")
    assert ledger.state_of_ended("iris", "r1") is RunState.FAILED
    ledger.record_version("iris", number, VersionState.REGISTERED, {"run_id": "r1"})
    ledger.promote("iris", ONE, None, "arn:r1")
    assert ledger.state_of_ended("iris", "r1") is RunState.RELEASED
    ledger.close("iris", "r1", "arn:r1", RunState.RELEASED)
    register(ledger, "r2", VersionState.REJECTED)
    assert ledger.state_of_ended("iris", "r2") is RunState.REJECTED
