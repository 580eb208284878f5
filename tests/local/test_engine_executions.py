"""State machines act as their role, end when told to and keep to their times."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest


@pytest.fixture(scope="module")
def echo(lab: Any) -> str:
    basic = lab.role("echo-role", "lambda.amazonaws.com")
    return lab.function("echo", "def handler(event, context):\n    return event\n", basic)


@pytest.fixture(scope="module")
def slow(lab: Any) -> str:
    basic = lab.role("slow-role", "lambda.amazonaws.com")
    code = (
        "import time\ndef handler(event, context):\n"
        "    time.sleep(2)\n    raise ValueError('late')\n"
    )
    return lab.function("slow", code, basic)


def machine_of(lab: Any, name: str, definition: dict[str, Any], *grants: dict[str, Any]) -> str:
    role = lab.role(f"{name}-role", "states.amazonaws.com", *grants)
    return lab.machine(name, role, definition)


def test_lambda_needs_the_grant(lab: Any, echo: str) -> None:
    task = lab.task("arn:aws:states:::lambda:invoke", {"FunctionName": echo, "Payload": {"a": 1}})
    arn = machine_of(lab, "asks-lambda", task)
    refused = lab.ended(lab.run(arn))
    assert refused["status"] == "FAILED"
    assert refused["error"] == "Lambda.AWSLambdaException"
    assert "lambda:InvokeFunction" in refused["cause"]
    lab.grant("asks-lambda-role", lab.allow("lambda:InvokeFunction", on=echo))
    done = lab.ended(lab.run(arn))
    assert done["status"] == "SUCCEEDED", done
    assert json.loads(done["output"])["Payload"] == {"a": 1}


@pytest.mark.parametrize(
    ("resource", "arguments", "action"),
    [
        (
            "dynamodb:putItem",
            {"TableName": "granted", "Item": {"pk": {"S": "1"}}},
            "dynamodb:PutItem",
        ),
        ("sqs:sendMessage", {"QueueUrl": "QUEUE", "MessageBody": "hello"}, "sqs:SendMessage"),
        ("sns:publish", {"TopicArn": "TOPIC", "Message": "hello"}, "sns:Publish"),
        (
            "events:putEvents",
            {"Entries": [{"Source": "me", "DetailType": "t", "Detail": {}}]},
            "events:PutEvents",
        ),
        ("aws-sdk:dynamodb:scan", {"TableName": "granted"}, "dynamodb:Scan"),
        ("aws-sdk:ecr:describeRepositories", {}, "ecr:DescribeRepositories"),
        ("aws-sdk:ssm:getParameter", {"Name": "missing"}, "ssm:GetParameter"),
    ],
)
def test_tasks_need_the_grant(
    lab: Any, client: Any, resource: str, arguments: dict[str, Any], action: str
) -> None:
    if "granted" not in client("dynamodb").list_tables()["TableNames"]:
        client("dynamodb").create_table(
            TableName="granted",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    url = client("sqs").create_queue(QueueName="granted")["QueueUrl"]
    topic = client("sns").create_topic(Name="granted")["TopicArn"]
    text = json.dumps(arguments).replace("QUEUE", url).replace("TOPIC", topic)
    name = "asks-" + resource.replace(":", "-")
    arn = machine_of(lab, name, lab.task(f"arn:aws:states:::{resource}", json.loads(text)))
    refused = lab.ended(lab.run(arn))
    assert refused["status"] == "FAILED"
    assert action in refused["cause"]
    assert "not authorized" in refused["cause"]
    lab.grant(f"{name}-role", lab.allow(action))
    done = lab.ended(lab.run(arn))
    assert "not authorized" not in done.get("cause", "")
    if resource != "aws-sdk:ssm:getParameter":
        assert done["status"] == "SUCCEEDED", done


def test_a_role_that_does_not_trust_step_functions_is_not_assumed(lab: Any, echo: str) -> None:
    grant = lab.allow("lambda:InvokeFunction")
    role = lab.role("trusts-another", "lambda.amazonaws.com", grant)
    task = lab.task("arn:aws:states:::lambda:invoke", {"FunctionName": echo, "Payload": {}})
    refused = lab.ended(lab.run(lab.machine("untrusted", role, task)))
    assert refused["status"] == "FAILED"
    assert "sts:AssumeRole" in refused["cause"]


@pytest.mark.parametrize("resource", ["something", "arn:aws:nothing:::at:all"])
def test_an_unknown_resource_fails(lab: Any, resource: str) -> None:
    name = f"unknown-{len(resource)}"
    failed = lab.ended(lab.run(machine_of(lab, name, lab.task(resource, {"a": 1}))))
    assert failed["status"] == "FAILED"
    assert failed["error"] == "States.Runtime"


def test_an_execution_times_out(lab: Any, client: Any) -> None:
    wait = {"Type": "Wait", "Seconds": 30, "End": True}
    definition = {"TimeoutSeconds": 1, "StartAt": "W", "States": {"W": wait}}
    started = time.monotonic()
    execution = lab.run(machine_of(lab, "times-out", definition))
    assert lab.ended(execution)["status"] == "TIMED_OUT"
    assert time.monotonic() - started < 5
    history = client("stepfunctions").get_execution_history(executionArn=execution)["events"]
    assert history[-1]["type"] == "ExecutionTimedOut"


def test_a_jsonata_timeout_ends_the_task(lab: Any, slow: str) -> None:
    task = lab.task(
        "arn:aws:states:::lambda:invoke",
        {"FunctionName": slow, "Payload": {}},
        TimeoutSeconds="{% 1 %}",
    )
    arn = machine_of(lab, "jsonata-timeout", task, lab.allow("lambda:InvokeFunction"))
    failed = lab.ended(lab.run(arn))
    assert (failed["status"], failed["error"]) == ("FAILED", "States.Timeout")


def test_a_stopped_execution_stays_stopped(lab: Any, client: Any, slow: str) -> None:
    retry = [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 5}]
    task = lab.task(
        "arn:aws:states:::lambda:invoke", {"FunctionName": slow, "Payload": {}}, Retry=retry
    )
    execution = lab.run(machine_of(lab, "stopped", task, lab.allow("lambda:InvokeFunction")))
    time.sleep(0.6)
    client("stepfunctions").stop_execution(executionArn=execution, error="Me", cause="because")
    time.sleep(4)
    found = client("stepfunctions").describe_execution(executionArn=execution)
    assert (found["status"], found["error"]) == ("ABORTED", "Me")
    history = client("stepfunctions").get_execution_history(executionArn=execution)["events"]
    assert sum(event["type"] == "TaskScheduled" for event in history) == 1


def test_retries_keep_to_max_delay(lab: Any) -> None:
    retry = [
        {
            "ErrorEquals": ["States.ALL"],
            "IntervalSeconds": 1,
            "BackoffRate": 10,
            "MaxDelaySeconds": 1,
            "MaxAttempts": 2,
        }
    ]
    task = lab.task("arn:aws:states:::sqs:sendMessage", {"QueueUrl": "x/none"}, Retry=retry)
    started = time.monotonic()
    assert lab.ended(lab.run(machine_of(lab, "max-delay", task)))["status"] == "FAILED"
    assert 2 <= time.monotonic() - started < 6


def test_a_callback_without_a_heartbeat_fails(lab: Any, client: Any) -> None:
    url = client("sqs").create_queue(QueueName="callbacks")["QueueUrl"]
    task = lab.task(
        "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        {"QueueUrl": url, "MessageBody": {"token": "{% $states.context.Task.Token %}"}},
        HeartbeatSeconds=1,
    )
    failed = lab.ended(lab.run(machine_of(lab, "beats", task, lab.allow("sqs:SendMessage"))))
    assert (failed["status"], failed["error"]) == ("FAILED", "States.HeartbeatTimeout")


def test_a_service_of_ours_is_asked_as_the_machines_role(lab: Any) -> None:
    arguments = {"EndpointConfigName": "none", "EndpointName": "none"}
    task = lab.task("arn:aws:states:::sagemaker:createEndpoint", arguments)
    arn = machine_of(lab, "asks-sagemaker", task)
    refused = lab.ended(lab.run(arn))
    assert refused["error"] == "SageMaker.AmazonSageMakerException"
    assert "Error Code: AccessDeniedException" in refused["cause"]
    lab.grant("asks-sagemaker-role", lab.allow("sagemaker:CreateEndpoint"))
    failed = lab.ended(lab.run(arn))
    assert failed["error"] == "SageMaker.AmazonSageMakerException"
    assert "AccessDenied" not in failed["cause"]


def test_an_unknown_member_is_an_error(lab: Any) -> None:
    task = lab.task("arn:aws:states:::sagemaker:createEndpoint", {"EndpointNme": "typed wrong"})
    failed = lab.ended(
        lab.run(machine_of(lab, "misspells", task, lab.allow("sagemaker:CreateEndpoint")))
    )
    assert failed["status"] == "FAILED"
    assert "EndpointNme" in failed["cause"]
