"""Functions: quick when warm, refused where a policy does not admit their caller."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

ECHO = "def handler(event, context):\n    print('seen', event)\n    return event\n"


def wait_for(condition: Any, seconds: float = 15) -> Any:
    limit = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < limit:
        time.sleep(0.05)
    return found


def test_a_warm_call_is_quick_and_keeps_its_log(lab: Any, client: Any) -> None:
    role = lab.role("warm-role", "lambda.amazonaws.com", lab.allow("logs:*"))
    lab.function("warm", ECHO, role)
    functions = client("lambda")
    taken = []
    for number in range(12):
        started = time.perf_counter()
        answer = functions.invoke(
            FunctionName="warm", Payload=json.dumps({"n": number}), LogType="Tail"
        )
        taken.append(time.perf_counter() - started)
        assert json.loads(answer["Payload"].read()) == {"n": number}
    assert sorted(taken)[len(taken) // 2] < 0.040
    logs = client("logs")

    def lines() -> Any:
        found = logs.filter_log_events(logGroupName="/aws/lambda/warm")["events"]
        return [event for event in found if "seen" in event["message"]]

    assert len(wait_for(lambda: found if len(found := lines()) == 12 else None)) == 12
    assert not any("tidemill" in event["message"] for event in lines())


def test_a_function_without_output_is_quick_too(lab: Any, client: Any) -> None:
    role = lab.role("silent-role", "lambda.amazonaws.com")
    lab.function("silent", "def handler(event, context):\n    return 1\n", role)
    functions = client("lambda")
    taken = []
    for _ in range(10):
        started = time.perf_counter()
        functions.invoke(FunctionName="silent")
        taken.append(time.perf_counter() - started)
    assert sorted(taken)[5] < 0.040


def test_a_role_that_does_not_trust_lambda_is_not_assumed(lab: Any, client: Any) -> None:
    role = lab.role("not-for-lambda", "states.amazonaws.com")
    lab.function("untrusting", ECHO, role)
    answer = client("lambda").invoke(FunctionName="untrusting")
    assert "FunctionError" in answer
    assert "sts:AssumeRole" in answer["Payload"].read().decode()


def test_a_queue_is_polled_with_the_functions_role(lab: Any, client: Any) -> None:
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="polled")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    role = lab.role("polls-role", "lambda.amazonaws.com")
    lab.function("polls", ECHO, role)
    client("lambda").create_event_source_mapping(EventSourceArn=arn, FunctionName="polls")
    sqs.send_message(QueueUrl=url, MessageBody="1")

    def waiting() -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(map(int, found.values()))

    time.sleep(2)
    assert waiting() == 1
    lab.grant(
        "polls-role",
        lab.allow("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", on=arn),
    )
    assert wait_for(lambda: waiting() == 0)


def test_a_slow_stream_does_not_delay_a_queue(lab: Any, client: Any) -> None:
    everything = lab.allow("kinesis:*", "sqs:*")
    role = lab.role("pollers-role", "lambda.amazonaws.com", everything)
    lab.function(
        "sluggish",
        "import time\ndef handler(event, context):\n    time.sleep(6)\n",
        role,
        Timeout=10,
    )
    lab.function("brisk", ECHO, role)
    kinesis, sqs, functions = client("kinesis"), client("sqs"), client("lambda")
    kinesis.create_stream(StreamName="sluggish", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName="sluggish")
    stream = kinesis.describe_stream(StreamName="sluggish")["StreamDescription"]["StreamARN"]
    url = sqs.create_queue(QueueName="brisk")["QueueUrl"]
    functions.create_event_source_mapping(
        EventSourceArn=stream, FunctionName="sluggish", StartingPosition="TRIM_HORIZON"
    )
    functions.create_event_source_mapping(
        EventSourceArn=f"arn:aws:sqs:us-east-1:{lab.account}:brisk", FunctionName="brisk"
    )
    kinesis.put_record(StreamName="sluggish", PartitionKey="1", Data=b"1")
    time.sleep(1.5)
    started = time.monotonic()
    sqs.send_message(QueueUrl=url, MessageBody="1")

    def done() -> bool:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(map(int, found.values())) == 0

    assert wait_for(done, 10)
    assert time.monotonic() - started < 3


def test_a_rule_needs_a_role_or_a_policy(lab: Any, client: Any) -> None:
    events, sqs = client("events"), client("sqs")
    pattern = json.dumps({"source": ["engine.test"]})
    rule = events.put_rule(Name="guarded", EventPattern=pattern)["RuleArn"]
    definition = {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}}}
    machine = lab.machine("by-rule", lab.role("by-rule-m", "states.amazonaws.com"), definition)
    role = lab.role("by-rule-role", "events.amazonaws.com")
    url = sqs.create_queue(QueueName="by-rule")["QueueUrl"]
    queue = f"arn:aws:sqs:us-east-1:{lab.account}:by-rule"
    events.put_targets(
        Rule="guarded",
        Targets=[{"Id": "1", "Arn": machine, "RoleArn": role}, {"Id": "2", "Arn": queue}],
    )
    states = client("stepfunctions")

    def put() -> None:
        events.put_events(
            Entries=[{"Source": "engine.test", "DetailType": "t", "Detail": json.dumps({"a": 1})}]
        )
        time.sleep(1)

    put()
    assert states.list_executions(stateMachineArn=machine)["executions"] == []
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    lab.grant("by-rule-role", lab.allow("states:StartExecution", on=machine))
    statement = {
        **lab.allow("sqs:SendMessage", on=queue),
        "Principal": {"Service": "events.amazonaws.com"},
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    put()
    assert wait_for(lambda: states.list_executions(stateMachineArn=machine)["executions"])
    assert sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"]


def test_a_failing_custom_resource_fails_at_once(lab: Any, client: Any) -> None:
    role = lab.role("custom-role", "lambda.amazonaws.com")
    arn = lab.function("custom", "def handler(event, context):\n    raise ValueError(1)\n", role)
    template = {"Resources": {"X": {"Type": "Custom::Thing", "Properties": {"ServiceToken": arn}}}}
    stacks = client("cloudformation")
    stacks.create_stack(
        StackName="custom", TemplateBody=json.dumps(template), OnFailure="DO_NOTHING"
    )

    def status() -> str:
        return str(stacks.describe_stacks(StackName="custom")["Stacks"][0]["StackStatus"])

    assert wait_for(lambda: status() != "CREATE_IN_PROGRESS")
    assert status() == "CREATE_FAILED"


def test_an_api_needs_the_functions_policy(lab: Any, client: Any, cloud: Any) -> None:
    role = lab.role("api-role", "lambda.amazonaws.com")
    code = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'here'}\n"
    arn = lab.function("api", code, role)
    apis = client("apigateway")
    api = apis.create_rest_api(name="api")["id"]
    root = apis.get_resources(restApiId=api)["items"][0]["id"]
    where = {"restApiId": api, "resourceId": root, "httpMethod": "POST"}
    apis.put_method(**where, authorizationType="NONE")
    region = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions"
    apis.put_integration(
        **where,
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=f"{region}/{arn}/invocations",
    )
    apis.create_deployment(restApiId=api, stageName="test")

    import ssl
    import urllib.error
    import urllib.request

    def call() -> tuple[int, bytes]:
        request = urllib.request.Request(  # noqa: S310 - the local cloud's own address
            f"{cloud.endpoint_url}/restapis/{api}/test/_user_request_/", data=b"{}"
        )
        trusted = ssl.create_default_context(cafile=str(cloud.authority))
        try:
            with urllib.request.urlopen(request, context=trusted) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    assert call()[0] == 500
    client("lambda").add_permission(
        FunctionName="api",
        StatementId="1",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:us-east-1:{lab.account}:{api}/*/POST/",
    )
    assert call() == (200, b"here")


def test_an_unknown_function_is_not_found(client: Any) -> None:
    with pytest.raises(ClientError, match="ResourceNotFound"):
        client("lambda").invoke(FunctionName="nothing")
