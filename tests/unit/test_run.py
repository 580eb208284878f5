from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tidemill import ledger, run
from tidemill.ledger import Champion
from tidemill.model import load_model
from tidemill.release import differences
from tidemill.run import Ending, Plan, Request, RunError

ARN = "arn:aws:states:eu-west-1:123456789012:execution:tidemill:4c0ffee"
STARTED = datetime(2026, 11, 20, 20, 11, 41, 123_000, tzinfo=UTC)
IRIS = load_model(Path(__file__).parents[2] / "models" / "iris.toml")
SAGEMAKER_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


def test_a_run_id_sorts_by_time_and_follows_from_the_execution() -> None:
    run_id = run.run_id(ARN, STARTED)
    assert re.fullmatch(r"20261120t201141-[0-9a-f]{4}", run_id)
    assert run_id == run.run_id(ARN, run.moment("2026-11-20T20:11:41.999Z"))
    assert run_id == run.run_id(ARN, run.moment(int(STARTED.timestamp() * 1000)))
    assert run_id != run.run_id(ARN + "1", STARTED)
    assert run_id == run.run_id(ARN, run.moment("2026-11-20T21:11:41+01:00"))


def plan(
    model: str = "iris", prefix: str = "tidemill-dev", champion: Champion | None = None
) -> Plan:
    import dataclasses

    return run.plan(
        dataclasses.replace(IRIS, name=model),
        run=run.run_id(ARN, STARTED),
        actor="ada",
        prefix=prefix,
        bucket="artefacts",
        unload_sql="UNLOAD",
        champion=champion,
    )


@pytest.mark.parametrize("champion", [None, Champion(3, "r", "s3://a/model.tar.gz", "c")])
def test_a_plan_survives_the_state_machine(champion: Champion | None) -> None:
    made = plan(champion=champion)
    assert Plan.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert all(isinstance(value, str) for value in made.hyperparameters.values())


@pytest.mark.parametrize("model", ["iris", "a" * 40, "bike_trips_of_a_large_city_by_the_hour"])
@pytest.mark.parametrize("prefix", ["tidemill-dev", "tidemill-production-e"])
def test_sagemaker_takes_every_name(model: str, prefix: str) -> None:
    made = plan(model, prefix)
    jobs = made.jobs
    for name in (jobs.prepare, jobs.train, jobs.evaluate, made.release_name, made.endpoint_name):
        for retried in (name, f"{name}-3") if name in vars(jobs).values() else (name,):
            assert SAGEMAKER_NAME.fullmatch(retried) and len(retried) <= 63
        assert name.startswith(prefix + "-")


def test_cut_names_stay_apart() -> None:
    first, second = plan("a" * 39 + "b"), plan("a" * 39 + "c")
    assert first.release_name != second.release_name


@pytest.mark.parametrize("model", ["a_", "a" * 60])
def test_an_endpoint_that_sagemaker_refuses_is_refused_here(model: str) -> None:
    with pytest.raises(RunError, match="shorten"):
        run.endpoint_name("tidemill-dev", model)


def test_a_request_names_a_model_and_has_defaults() -> None:
    assert Request.read({"model": "iris"}) == Request("iris", "manual", "manual")
    request = Request.read({"model": "iris", "reason": "schedule", "actor": "rule"})
    assert request == Request("iris", "schedule", "rule")


@pytest.mark.parametrize(
    "document", [None, [], {}, {"model": 1}, {"model": ""}, {"model": "i", "x": 1}]
)
def test_a_request_that_is_none_is_refused(document: Any) -> None:
    with pytest.raises(RunError):
        Request.read(document)


REPORT = {
    "execution_arn": ARN,
    "started_at": "2026-11-20T20:11:41.123Z",
    "input": {"model": "iris"},
}
STATUS = {
    "executionArn": ARN,
    "status": "TIMED_OUT",
    "startDate": 1795205501123,
    "input": '{"model": "iris"}',
    "error": "States.Timeout",
    "cause": None,
}


def test_an_ending_is_read_alike_from_either_side() -> None:
    failure = {"state": "Train", "error": "States.TaskFailed", "cause": "no rows"}
    told = Ending.read({**REPORT, "failure": failure})
    heard = Ending.read({"detail-type": "…", "detail": STATUS})
    assert told.error == "Train: States.TaskFailed: no rows"
    assert heard.error == "the execution ended as TIMED_OUT: States.Timeout"
    assert (told.reported, heard.reported) == (True, False)
    assert told.run_id == heard.run_id and told.model == heard.model == "iris"
    outcome = {"decision": "rejected"}
    assert Ending.read({**REPORT, "outcome": outcome}).outcome == outcome


@pytest.mark.parametrize(
    "event",
    [
        {},
        {**REPORT},
        {**REPORT, "input": []},
        {"detail": {**STATUS, "status": "SUCCEEDED"}},
        {"detail": {**STATUS, "input": None}},
        {"detail": {**STATUS, "input": "{"}},
    ],
)
def test_what_tells_of_no_end_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(RunError):
        Ending.read(event)


def test_keys_sort_as_numbers_and_times_do() -> None:
    assert ledger.version_key(9) < ledger.version_key(10) < ledger.version_key(99_999_999)
    early, late = (ledger.timestamp(STARTED.replace(microsecond=us)) for us in (0, 999_000))
    assert early == "2026-11-20T20:11:41.000Z"
    assert ledger.event_key(early, "z") < ledger.event_key(late, "a")


def test_an_event_leaves_out_what_it_does_not_know() -> None:
    item = ledger.event(ledger.EventKind.RUN_FAILED, at="t", run_id="r", text="x" * 5000)
    assert item.keys() == {"sk", "kind", "at", "run_id", "text"}
    assert len(item["text"]) == 2000


ANSWER = {"predictions": [1.0, 2.0], "model": "iris", "version": 3}


@pytest.mark.parametrize(
    ("answer", "expected", "said"),
    [
        (ANSWER, [1.00005, 2.0], None),
        (ANSWER, [1.0, 2.00011], "smoke row 1"),
        (ANSWER, [1.0], "1 predictions were due"),
        (ANSWER, [], "1 predictions|0 predictions"),
        (ANSWER | {"predictions": []}, [], "no smoke prediction"),
        (ANSWER | {"predictions": [1.0, float("nan")]}, [1.0, 2.0], "smoke row 1"),
        (ANSWER | {"predictions": ["1.0", 2.0]}, [1.0, 2.0], "smoke row 0"),
        (ANSWER | {"predictions": ["a", "b"]}, ["a", "b"], None),
        (ANSWER | {"predictions": ["a", "c"]}, ["a", "b"], "smoke row 1"),
        (ANSWER | {"predictions": [True]}, [1], "smoke row 0"),
        (ANSWER | {"version": 2}, [1.0, 2.0], "iris version 2"),
        (ANSWER | {"model": "other"}, [1.0, 2.0], "other version 3"),
        ({}, [1.0, 2.0], "None version None"),
    ],
)
def test_a_release_is_verified_by_version_and_predictions(
    answer: dict[str, Any], expected: list[Any], said: str | None
) -> None:
    found = differences(answer, "iris", 3, expected)
    assert bool(found) == (said is not None)
    assert said is None or re.search(said, found[0])
