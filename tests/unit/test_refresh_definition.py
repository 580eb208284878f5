"""The state machine's definition: what can be told of it without running it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonata
import pytest

FILE = Path(__file__).parents[2] / "state_machines" / "model_refresh.asl.json"
TEXT = FILE.read_text()
MACHINE: dict[str, Any] = json.loads(TEXT)
STATES: dict[str, dict[str, Any]] = MACHINE["States"]
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
PLACEHOLDERS = {
    *("OpenRunArn", "JudgeVersionArn", "VerifyReleaseArn", "PromoteVersionArn", "CloseRunArn"),
    *("ImageUri", "JobRoleArn", "EndpointRoleArn", "WorkgroupName", "Database", "TopicArn"),
    *("ProcessingInstanceType", "TrainingInstanceType"),
}
INTEGRATIONS = {
    "arn:aws:states:::lambda:invoke",
    "arn:aws:states:::sns:publish",
    "arn:aws:states:::sagemaker:createProcessingJob.sync",
    "arn:aws:states:::sagemaker:createTrainingJob.sync",
    "arn:aws:states:::sagemaker:createModel",
    "arn:aws:states:::sagemaker:createEndpointConfig",
    "arn:aws:states:::sagemaker:createEndpoint",
    "arn:aws:states:::sagemaker:updateEndpoint",
    "arn:aws:states:::aws-sdk:sagemaker:describeEndpoint",
    "arn:aws:states:::aws-sdk:sagemaker:deleteEndpoint",
    "arn:aws:states:::aws-sdk:redshiftdata:executeStatement",
    "arn:aws:states:::aws-sdk:redshiftdata:describeStatement",
    "arn:aws:states:::aws-sdk:redshiftdata:cancelStatement",
}
COMMON = {"Type", "Comment", "Assign", "Output", "Next", "End"}
FIELDS = {
    "Task": COMMON | {"Resource", "Arguments", "TimeoutSeconds", "Retry", "Catch"},
    "Choice": {"Type", "Comment", "Choices", "Default", "Assign", "Output"},
    "Wait": COMMON | {"Seconds"},
    "Pass": COMMON,
    "Succeed": {"Type", "Comment", "Output"},
    "Fail": {"Type", "Comment", "Error", "Cause"},
}
REQUIRED = {"Task": {"Resource"}, "Choice": {"Choices"}, "Wait": {"Seconds"}}


def following(state: dict[str, Any]) -> Iterator[str]:
    for source in (state, *state.get("Choices", ()), *state.get("Catch", ())):
        if "Next" in source:
            yield source["Next"]
    if "Default" in state:
        yield state["Default"]


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, f"{path}/{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from texts(item, f"{path}/{number}")


def test_it_is_jsonata_throughout_and_ends_in_time() -> None:
    assert MACHINE["QueryLanguage"] == "JSONata"
    assert isinstance(MACHINE["TimeoutSeconds"], int)
    assert all("QueryLanguage" not in state for state in STATES.values())
    assert not re.search(r"\"(Parameters|(Input|Output|Result)Path|ResultSelector)\"|\.\$\"", TEXT)


def test_every_state_is_reached_and_leads_to_one_that_exists() -> None:
    reached: set[str] = set()
    ahead = [MACHINE["StartAt"]]
    while ahead:
        name = ahead.pop()
        assert name in STATES
        if name not in reached:
            reached.add(name)
            ahead.extend(following(STATES[name]))
    assert reached == set(STATES)


def test_every_state_can_end() -> None:
    ending = {name for name, state in STATES.items() if state["Type"] in ("Succeed", "Fail")}
    while more := {
        name
        for name, state in STATES.items()
        if name not in ending and any(then in ending for then in following(state))
    }:
        ending |= more
    assert ending == set(STATES)


@pytest.mark.parametrize("name", STATES)
def test_a_state_has_the_fields_of_its_type_and_no_other(name: str) -> None:
    state = STATES[name]
    kind = state["Type"]
    assert set(state) <= FIELDS[kind]
    assert REQUIRED.get(kind, set()) <= set(state)
    if kind in ("Task", "Pass", "Wait"):
        assert "Next" in state
    for choice in state.get("Choices", ()):
        assert set(choice) == {"Condition", "Next"}
    if kind == "Choice":
        assert "Default" in state
    assert len(name) <= 80


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_bounded_retried_and_caught(name: str) -> None:
    task = TASKS[name]
    assert task["Resource"] in INTEGRATIONS
    assert isinstance(task["TimeoutSeconds"], int)
    assert task["TimeoutSeconds"] < MACHINE["TimeoutSeconds"]
    assert task["Retry"] and task["Catch"]
    for retrier in task["Retry"]:
        assert set(retrier) <= {
            *("ErrorEquals", "IntervalSeconds", "BackoffRate", "MaxAttempts", "MaxDelaySeconds"),
            "JitterStrategy",
        }
        assert retrier["IntervalSeconds"] >= 1 and retrier["BackoffRate"] >= 1
        assert retrier["MaxDelaySeconds"] > retrier["IntervalSeconds"]
        # These would also try again what can only fail again.
        assert not {"States.ALL", "States.TaskFailed"} & set(retrier["ErrorEquals"])
    assert task["Catch"][-1]["ErrorEquals"] == ["States.ALL"]
    assert all(set(c) <= {"ErrorEquals", "Assign", "Output", "Next"} for c in task["Catch"])


def test_after_the_endpoint_was_switched_every_failure_reviews_it() -> None:
    switched = ("CreateEndpoint", "UpdateEndpoint", "VerifyRelease", "PromoteVersion")
    assert {TASKS[name]["Catch"][-1]["Next"] for name in switched} == {"ReviewEndpoint"}


def test_job_time_outs_leave_a_job_its_own_limit() -> None:
    for name, task in TASKS.items():
        if task["Resource"].endswith(".sync"):
            limit = task["Arguments"]["StoppingCondition"]["MaxRuntimeInSeconds"]
            assert task["TimeoutSeconds"] > limit, name


def test_every_expression_is_jsonata_and_every_variable_is_assigned() -> None:
    assigned = {"states", "input", "name", "uri"}  # the last three are Evaluate's own
    for state in STATES.values():
        for source in (state, *state.get("Catch", ())):
            assigned |= set(source.get("Assign", ()))
    for path, text in texts(MACHINE["States"]):
        if text.startswith("{%"):
            assert text.endswith("%}"), path
            expression = text[2:-2].strip()
            jsonata.Jsonata.jsonata(expression)
            used = set(re.findall(r"\$([a-z]\w*)\b(?!\()", expression))
            assert used <= assigned, (path, used - assigned)
        else:
            assert "{%" not in text, path


def test_the_placeholders_are_those_that_the_stack_fills_in() -> None:
    assert set(re.findall(r"\$\{(\w+)\}", TEXT)) == PLACEHOLDERS
    assert not re.search(r"arn:aws:(?!states:::)", TEXT)


def test_waits_begin_with_a_second_and_grow() -> None:
    for name, state in STATES.items():
        if state["Type"] == "Wait":
            counter = next(iter(state["Assign"]))
            expression = jsonata.Jsonata.jsonata(state["Seconds"][2:-2].strip())
            seconds = [expression.evaluate(None, {counter: n}) for n in (0, 4, 5, 50, 500)]
            assert seconds == [1, 1, 2, 11, 15], name
