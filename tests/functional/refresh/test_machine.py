"""Whole runs: the state machine by its interpreter, the functions by their handlers."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ministack.services import stepfunctions

Items = Callable[..., list[dict[str, Any]]]
NAME = "tidemill-test-stock-price"


def evaluate(machine: Any, challenger: float = 3.7, champion: float | None = None) -> None:
    machine.sagemaker.evaluation["challenger"]["metrics"]["rmse"] = challenger
    metrics = None if champion is None else {"metrics": {"rmse": champion}}
    machine.sagemaker.evaluation["champion"] = metrics


def release(machine: Any) -> dict[str, Any]:
    """A first run that ends with a champion."""
    evaluate(machine)
    execution = machine.run()
    assert execution["status"] == "SUCCEEDED", execution
    machine.sagemaker.requests.clear()
    evaluate(machine, champion=3.7)
    return execution


def test_the_first_version_is_released(machine: Any, ledger_items: Items, topic: Any) -> None:
    execution = machine.run(model="stock_price", reason="manual", actor="ada")

    assert execution["status"] == "SUCCEEDED", execution
    output = execution["output"]
    assert {key: output[key] for key in ("model", "version", "decision", "endpoint_name")} == {
        "model": "stock_price",
        "version": 1,
        "decision": "released",
        "endpoint_name": NAME,
    }
    assert [reason["rule"] for reason in output["reasons"]] == ["threshold", "twin"]
    assert all(reason["passed"] for reason in output["reasons"])
    assert machine.states == [
        *("OpenRun", "Extract", "WaitForExtract", "CheckExtract", "ExtractSettled"),
        *("WaitForExtract", "CheckExtract", "ExtractSettled", "Prepare", "Train", "Evaluate"),
        *("JudgeVersion", "PassedGate", "CreateModel", "CreateEndpointConfig", "FindEndpoint"),
        *("EndpointFound", "CreateEndpoint", "WaitForRelease", "CheckRelease", "ReleaseSettled"),
        *("WaitForRelease", "CheckRelease", "ReleaseSettled", "VerifyRelease", "PromoteVersion"),
        *("Notify", "CloseRun", "RunEnded"),
    ]
    assert topic() == [output]
    run_id = output["run_id"]
    assert ledger_items("LOCK") == []
    [champion] = ledger_items("CHAMPION")
    assert (champion["version"], champion["endpoint_config"]) == (1, f"{NAME}-{run_id}")
    [version] = ledger_items("VERSION#")
    assert (version["sk"], version["state"]) == ("VERSION#00000001", "champion")
    [run] = ledger_items("RUN#")
    assert (run["state"], run["actor"], run["version"]) == ("released", "ada", 1)
    assert [event["kind"] for event in ledger_items("EVENT#")] == ["registered", "promoted"]


def test_the_jobs_follow_the_plan(machine: Any) -> None:
    run_id = machine.run()["output"]["run_id"]

    requests = dict(machine.sagemaker.requests[:3][::-1])
    root = f"s3://artefacts/runs/stock_price/{run_id}"
    training = requests["createTrainingJob.sync"]
    assert training["TrainingJobName"] == f"{NAME}-{run_id}-train"
    assert training["HyperParameters"]["max_iter"] == "200"
    assert {
        c["ChannelName"]: c["DataSource"]["S3DataSource"]["S3Uri"]
        for c in training["InputDataConfig"]
    } == {name: f"{root}/{name}/" for name in ("train", "holdout", "spec")}
    jobs = [request for action, request in machine.sagemaker.requests if "Processing" in action]
    assert [job["ProcessingJobName"] for job in jobs] == [
        f"{NAME}-{run_id}-prepare",
        f"{NAME}-{run_id}-evaluate",
    ]
    snapshot = f"s3://artefacts/snapshots/stock_price/{run_id}/"
    assert inputs(jobs[0]) == {"snapshot": snapshot, "spec": f"{root}/spec/"}
    assert inputs(jobs[1]) == {
        "challenger": f"{root}/model/{NAME}-{run_id}-train/output/model.tar.gz",
        "holdout": f"{root}/holdout/",
        "spec": f"{root}/spec/",
        "profile": f"{root}/profile/",
    }
    [statement, *_] = machine.statements
    assert snapshot in statement["Sql"] and statement["Sql"].lstrip().startswith("UNLOAD")
    config = dict(machine.sagemaker.requests)["createEndpointConfig"]
    variant = config["ProductionVariants"][0]
    assert variant["VariantName"] == "live"
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}


def inputs(job: dict[str, Any]) -> dict[str, str]:
    found = {item["InputName"]: item["S3Input"] for item in job["ProcessingInputs"]}
    assert all(found[n]["LocalPath"] == f"/opt/ml/processing/input/{n}" for n in found)
    return {name: item["S3Uri"] for name, item in found.items()}


def test_the_second_version_is_compared_and_takes_the_same_endpoint(
    machine: Any, ledger_items: Items
) -> None:
    first = release(machine)["output"]
    evaluate(machine, challenger=3.72, champion=3.7)

    output = machine.run()["output"]

    assert (output["decision"], output["version"], output["endpoint_name"]) == ("released", 2, NAME)
    rules = {reason["rule"]: reason for reason in output["reasons"]}
    assert rules["champion"]["champion"] == 3.7
    assert rules["champion"]["limit"] == pytest.approx(3.737)
    assert "UpdateEndpoint" in machine.states and "CreateEndpoint" not in machine.states
    jobs = [request for action, request in machine.sagemaker.requests if "Processing" in action]
    assert inputs(jobs[1])["champion"].endswith(f"{first['run_id']}-train/output/model.tar.gz")
    assert [v["state"] for v in ledger_items("VERSION#")] == ["retired", "champion"]
    [champion] = ledger_items("CHAMPION")
    assert (champion["version"], champion["previous"]["version"]) == (2, 1)


def test_a_rejected_version_ends_the_run_well_and_touches_no_endpoint(
    machine: Any, ledger_items: Items, topic: Any
) -> None:
    release(machine)
    topic()
    evaluate(machine, challenger=3.9, champion=3.7)

    execution = machine.run()

    assert execution["status"] == "SUCCEEDED"
    output = execution["output"]
    assert (output["decision"], output["version"]) == ("rejected", 2)
    [failed] = [reason for reason in output["reasons"] if not reason["passed"]]
    assert failed["rule"] == "champion" and "worse by 5.41%" in failed["text"]
    assert {action for action, _ in machine.sagemaker.requests} == {
        "createProcessingJob.sync",
        "createTrainingJob.sync",
    }
    assert [v["state"] for v in ledger_items("VERSION#")] == ["champion", "rejected"]
    assert ledger_items("RUN#")[-1]["state"] == "rejected"
    assert ledger_items("LOCK") == []
    assert topic() == [output]


BEFORE_RELEASE = [
    *("Extract", "CheckExtract", "Prepare", "Train", "Evaluate", "JudgeVersion"),
    *("CreateModel", "CreateEndpointConfig"),
]
RELEASE = ["UpdateEndpoint", "VerifyRelease", "PromoteVersion"]


@pytest.mark.parametrize("state", BEFORE_RELEASE + RELEASE)
def test_every_failure_leaves_the_champion_the_lock_free_and_a_reason(
    machine: Any, ledger_items: Items, topic: Any, state: str
) -> None:
    first = release(machine)["output"]
    topic()
    machine.break_(state)

    execution = machine.run()

    assert execution["status"] == "FAILED"
    assert execution["error"] == f"Tidemill.{state}Failed"
    assert f"{state} is broken" in execution["cause"]
    endpoint = machine.sagemaker.endpoints[NAME]
    assert (endpoint["status"], endpoint["config"]) == ("InService", f"{NAME}-{first['run_id']}")
    assert ledger_items("LOCK") == []
    [champion] = ledger_items("CHAMPION")
    assert champion["version"] == 1
    run = ledger_items("RUN#")[-1]
    assert run["state"] == "failed" and f"{state} is broken" in run["error"]
    event = ledger_items("EVENT#")[-1]
    assert event["kind"] == "run_failed" and event["run_id"] == run["run_id"]
    states = [version["state"] for version in ledger_items("VERSION#")]
    assert states in (["champion"], ["champion", "failed"])
    [news] = topic()
    assert (news["decision"], news["run_id"]) == ("failed", run["run_id"])

    machine.broken.clear()
    again = machine.run()
    assert again["status"] == "SUCCEEDED", again
    assert again["output"]["decision"] == "released"


@pytest.mark.parametrize("state", ["VerifyRelease", "PromoteVersion", "CheckRelease"])
def test_a_failed_first_release_leaves_no_endpoint(
    machine: Any, ledger_items: Items, state: str
) -> None:
    if state == "CheckRelease":
        machine.sagemaker.refuses = Everything()
    else:
        machine.break_(state)

    execution = machine.run()

    assert execution["status"] == "FAILED", execution
    assert machine.sagemaker.endpoints == {}
    assert ledger_items("CHAMPION") == [] and ledger_items("LOCK") == []
    assert [version["state"] for version in ledger_items("VERSION#")] == ["failed"]

    machine.broken.clear()
    machine.sagemaker.refuses = set()
    assert machine.run()["output"]["version"] == 2


class Everything(set[str]):
    def __contains__(self, item: object) -> bool:
        return True


def test_a_version_that_the_endpoint_refuses_is_not_promoted(
    machine: Any, ledger_items: Items
) -> None:
    first = release(machine)["output"]
    machine.sagemaker.refuses = Everything()

    execution = machine.run()

    assert execution["error"] == "Tidemill.UpdateEndpointFailed"
    assert "the container did not answer /ping" in execution["cause"]
    assert machine.sagemaker.endpoints[NAME]["config"] == f"{NAME}-{first['run_id']}"
    assert "RevertEndpoint" not in machine.states  # SageMaker rolled back by itself


def test_an_endpoint_that_predicts_otherwise_is_reverted(machine: Any) -> None:
    first = release(machine)["output"]
    machine.sagemaker.offset = 2e-4

    execution = machine.run()

    assert execution["error"] == "Tidemill.VerifyReleaseFailed"
    assert "smoke row 0" in execution["cause"]
    assert "RevertEndpoint" in machine.states
    assert machine.sagemaker.endpoints[NAME]["config"] == f"{NAME}-{first['run_id']}"


def test_a_failed_unload_tells_the_warehouses_reason(machine: Any) -> None:
    machine.statement_status = ["PICKED", "FAILED"]
    execution = machine.run()
    assert execution["error"] == "Tidemill.ExtractFailed"
    assert execution["cause"] == "Extract: Tidemill.ExtractFailed: UNLOAD ended as FAILED: no"


def test_a_failed_jobs_own_words_are_told(machine: Any, ledger_items: Items) -> None:
    described = {"ProcessingJobStatus": "Failed", "ExitMessage": "stock_price has no rows"}

    def fail() -> None:
        raise stepfunctions._ExecutionError("States.TaskFailed", json.dumps(described))

    machine.broken["Prepare"] = fail
    execution = machine.run()
    assert execution["cause"] == "Prepare: States.TaskFailed: stock_price has no rows"
    assert ledger_items("RUN#")[0]["error"] == execution["cause"]


def test_a_failure_that_cannot_be_closed_is_told_all_the_same(machine: Any) -> None:
    machine.break_("Train")
    machine.break_("CloseFailedRun")
    execution = machine.run()
    assert execution["error"] == "Tidemill.TrainFailed"
    assert execution["cause"] == "Train: States.TaskFailed: Train is broken"


def test_an_unload_without_end_is_cancelled(machine: Any) -> None:
    machine.statement_status = ["STARTED"]
    execution = machine.run()
    assert execution["error"] == "Tidemill.ExtractFailed"
    assert "after an hour" in execution["cause"]
    assert machine.statements[-1].keys() == {"Id"}  # cancelStatement
    assert machine.states[-4:] == [
        "ExtractSettled",
        "ExtractTooSlow",
        "CloseFailedRun",
        "RunFailed",
    ]


def test_a_failed_endpoint_makes_way(machine: Any) -> None:
    machine.sagemaker.endpoints[NAME] = {"status": "Failed", "config": "old", "left": 0}
    assert machine.run()["output"]["decision"] == "released"
    assert "RemoveFailedEndpoint" in machine.states


def test_a_release_waits_for_an_endpoint_that_changes(machine: Any) -> None:
    first = release(machine)["output"]
    config = f"{NAME}-{first['run_id']}"
    machine.sagemaker.endpoints[NAME].update(status="Updating", wanted=config, left=3)
    assert machine.run()["output"]["version"] == 2
    assert machine.states.count("WaitForEndpoint") > 1


def test_news_that_cannot_be_told_undo_nothing(machine: Any, ledger_items: Items) -> None:
    machine.break_("Notify", "SNS.AuthorizationErrorException")
    assert machine.run()["output"]["decision"] == "released"
    assert ledger_items("LOCK") == []


def test_a_second_run_beside_the_first_fails_and_leaves_it_alone(
    machine: Any, ledger_items: Items, topic: Any
) -> None:
    seen: dict[str, Any] = {}

    def meanwhile() -> None:
        if not seen:
            seen["execution"] = None
            states = machine.states
            seen["execution"] = machine.run()
            machine.states = states

    machine.broken["Train"] = meanwhile
    execution = machine.run()

    assert seen["execution"]["error"] == "Tidemill.OpenRunFailed"
    assert "is locked by run" in seen["execution"]["cause"]
    assert execution["output"]["decision"] == "released"
    assert [run["state"] for run in ledger_items("RUN#")] == ["released", "failed"]
    assert [v["version"] for v in ledger_items("VERSION#")] == [1]


@pytest.mark.parametrize("died_in", ["Train", "VerifyRelease", "CloseRun"])
@pytest.mark.parametrize("first", [True, False])
def test_the_lock_of_a_dead_execution_is_taken_and_its_endpoint_mended(
    machine: Any, ledger_items: Items, died_in: str, first: bool
) -> None:
    if not first:
        release(machine)
    machine.broken[died_in] = die
    with pytest.raises(Killed):
        machine.run()
    machine.broken.clear()
    dead = ledger_items("RUN#")[-1]
    assert ledger_items("LOCK")[0]["run_id"] == dead["run_id"]
    if died_in == "CloseRun":
        evaluate(machine, champion=3.7)

    execution = machine.run()
    while execution["status"] == "FAILED" and "EndpointBusyError" in execution["cause"]:
        execution = machine.run()

    assert execution["status"] == "SUCCEEDED", execution
    died = next(run for run in ledger_items("RUN#") if run["run_id"] == dead["run_id"])
    assert died["state"] == ("released" if died_in == "CloseRun" else "failed")
    config = f"{NAME}-{execution['output']['run_id']}"
    assert machine.sagemaker.endpoints[NAME]["config"] == config
    assert ledger_items("LOCK") == []


class Killed(BaseException):
    pass


def die() -> None:
    raise Killed


@pytest.mark.parametrize("died_in", ["Train", "CheckRelease", "VerifyRelease", "CloseRun"])
def test_close_run_hears_of_an_aborted_execution_and_may_hear_twice(
    machine: Any,
    ledger_items: Items,
    topic: Any,
    load: Callable[[str], ModuleType],
    context: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    died_in: str,
) -> None:
    first = release(machine)["output"]
    topic()
    machine.broken[died_in] = die
    with pytest.raises(Killed):
        machine.run()
    dead = ledger_items("RUN#")[-1]
    close_run = load("close_run")
    monkeypatch.setattr(close_run, "_PAUSE_SECONDS", 0)
    event = {
        "detail-type": "Step Functions Execution Status Change",
        "detail": {
            "executionArn": dead["execution_arn"],
            "status": "ABORTED",
            "startDate": milliseconds(dead["run_id"]),
            "input": json.dumps({"model": "stock_price"}),
            "error": None,
            "cause": None,
        },
    }

    closed = close_run.handler(event, context)
    again = close_run.handler(event, context)

    released = died_in == "CloseRun"
    state = "released" if released else "failed"
    assert closed == {
        "model": "stock_price",
        "run_id": dead["run_id"],
        "state": state,
        "closed": True,
        "error": closed["error"],
    }
    assert again == {**closed, "closed": False}
    assert ledger_items("LOCK") == []
    serving = dead["run_id"] if released else first["run_id"]
    assert machine.sagemaker.endpoints[NAME]["config"] == f"{NAME}-{serving}"
    assert machine.sagemaker.endpoints[NAME]["status"] == "InService"
    news = topic()
    assert [n["decision"] for n in news] == (["released"] if released else ["failed"])
    if not released:
        assert "ABORTED" in news[0]["error"]


def milliseconds(run_id: str) -> int:
    moment = datetime.strptime(run_id[:15], "%Y%m%dt%H%M%S").replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"model": "no_such"}, "there is no model 'no_such'; there are: iris, stock_price"),
        ({"model": "../iris"}, "there is no model"),
        ({"model": "iris", "colour": "red"}, "unknown keys: colour"),
        ({"reason": "manual"}, "at 'model'"),
    ],
)
def test_an_input_that_cannot_be_run_is_refused_with_words(
    machine: Any, document: dict[str, Any], said: str
) -> None:
    execution = machine.run(**document)
    assert execution["status"] == "FAILED"
    assert execution["error"] == "Tidemill.OpenRunFailed"
    assert said in execution["cause"]
