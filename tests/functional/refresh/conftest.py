"""A ledger, a bucket and a topic on moto, a SageMaker of a few lines, and the state machine run by
the local cloud's own interpreter, with the functions' real handlers behind it."""

from __future__ import annotations

import importlib
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import botocore.session
import moto
import pytest
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator
from ministack.services import stepfunctions

from lambdas.adapters import clients, endpoint, executions

ROOT = Path(__file__).parents[3]
MACHINE = ROOT / "state_machines" / "model_refresh.asl.json"
MACHINE_ARN = "arn:aws:states:eu-west-1:123456789012:stateMachine:tidemill-test-refresh"
ENVIRONMENT = {
    "LEDGER_TABLE": "ledger",
    "ARTEFACTS_BUCKET": "artefacts",
    "UNLOAD_ROLE_ARN": "arn:aws:iam::123456789012:role/unload",
    "NAME_PREFIX": "tidemill-test",
    "PROJECT_NAME": "image",
    "REPOSITORY_NAME": "tidemill",
    "MODELS_DIR": str(ROOT / "models"),
    "POWERTOOLS_SERVICE_NAME": "test",
    "POWERTOOLS_METRICS_NAMESPACE": "tidemill-test",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
}
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:"
FUNCTIONS = {
    "OpenRunArn": "open_run",
    "JudgeVersionArn": "judge_version",
    "VerifyReleaseArn": "verify_release",
    "PromoteVersionArn": "promote_version",
    "CloseRunArn": "close_run",
}
PLACEHOLDERS = {
    **{name: ARN + function for name, function in FUNCTIONS.items()},
    "ImageUri": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/tidemill@sha256:" + "0" * 64,
    "JobRoleArn": "arn:aws:iam::123456789012:role/jobs",
    "EndpointRoleArn": "arn:aws:iam::123456789012:role/endpoints",
    "WorkgroupName": "tidemill-test",
    "Database": "tidemill",
    "ProcessingInstanceType": "ml.m5.large",
    "TrainingInstanceType": "ml.m5.large",
}


@pytest.fixture
def topic(aws: None) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the topic has published."""
    queue = boto3.client("sqs").create_queue(QueueName="inbox")["QueueUrl"]

    def read() -> list[dict[str, Any]]:
        answer = boto3.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        bodies = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        return [json.loads(body["Message"]) for body in bodies]

    boto3.client("sns").subscribe(
        TopicArn=topic_arn(),
        Protocol="sqs",
        Endpoint="arn:aws:sqs:eu-west-1:123456789012:inbox",
    )
    yield read


def topic_arn() -> str:
    return "arn:aws:sns:eu-west-1:123456789012:news"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name, value in {**ENVIRONMENT, "TOPIC_ARN": topic_arn()}.items():
        monkeypatch.setenv(name, value)
    with moto.mock_aws():
        clients.client.cache_clear()
        boto3.client("s3").create_bucket(
            Bucket="artefacts", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        boto3.client("sns").create_topic(Name="news")
        boto3.client("dynamodb").create_table(
            TableName="ledger",
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield
    clients.client.cache_clear()


@pytest.fixture
def load(aws: None) -> Iterator[Callable[[str], ModuleType]]:
    """Import a function's handler as at a cold start."""
    loaded: dict[str, ModuleType] = {}

    def cold_start(function: str) -> ModuleType:
        if function not in loaded:
            name = f"lambdas.{function}.handler"
            sys.modules.pop(name, None)
            loaded[function] = importlib.import_module(name)
        return loaded[function]

    yield cold_start
    for function in loaded:
        sys.modules.pop(f"lambdas.{function}.handler", None)


@pytest.fixture
def context() -> SimpleNamespace:
    """What Lambda hands a handler."""
    return SimpleNamespace(
        function_name="f",
        memory_limit_in_mb=128,
        invoked_function_arn=ARN + "f",
        aws_request_id="1",
        get_remaining_time_in_millis=lambda: 60_000,
    )


class FakeSageMaker:
    """Jobs that succeed at once and endpoints that settle after a describe call or two.

    `evaluation` is what the evaluation job writes; `refuses` are endpoint configurations that
    an endpoint does not take; `predicts` is what each version answers.
    """

    def __init__(self) -> None:
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, str] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.refuses: set[str] = set()
        self.evaluation: dict[str, Any] = {}
        self.offset = 0.0

    # As the SDK offers it.

    def describe_endpoint(self, EndpointName: str) -> dict[str, Any]:  # noqa: N803
        found = self.endpoints.get(EndpointName)
        if found is None:
            message = f'Could not find endpoint "{EndpointName}".'
            raise _client_error("ValidationException", message)
        if found["left"]:
            found["left"] -= 1
        elif found["status"] == "Deleting":
            del self.endpoints[EndpointName]
            return self.describe_endpoint(EndpointName)
        elif found["status"] in ("Creating", "Updating"):
            refused = found["wanted"] in self.refuses
            if refused:
                found["reason"] = "the container did not answer /ping"
            else:
                found["config"] = found["wanted"]
            found["status"] = "Failed" if refused and found["status"] == "Creating" else "InService"
        return {
            "EndpointName": EndpointName,
            "EndpointStatus": found["status"],
            "EndpointConfigName": found["config"],
            **({"FailureReason": found["reason"]} if "reason" in found else {}),
        }

    def create_endpoint(self, EndpointName: str, EndpointConfigName: str) -> dict[str, Any]:  # noqa: N803
        if EndpointName in self.endpoints:
            raise _client_error("ValidationException", "Cannot create already existing endpoint")
        self.endpoints[EndpointName] = {
            "status": "Creating",
            "config": EndpointConfigName,
            "wanted": EndpointConfigName,
            "left": 1,
        }
        return {"EndpointArn": "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/x"}

    def update_endpoint(self, EndpointName: str, EndpointConfigName: str) -> dict[str, Any]:  # noqa: N803
        found = self.endpoints[EndpointName]
        if found["status"] != "InService":
            raise _client_error("ValidationException", "Cannot update in-progress endpoint")
        found.update(status="Updating", wanted=EndpointConfigName, left=1)
        return {"EndpointArn": "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/x"}

    def delete_endpoint(self, EndpointName: str) -> dict[str, Any]:  # noqa: N803
        self.endpoints[EndpointName].update(status="Deleting", left=1)
        return {}

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        config = self.endpoints[request["EndpointName"]]["config"]
        environment = self.models[self.configs[config]]["PrimaryContainer"]["Environment"]
        rows = json.loads(request["Body"])["rows"]
        document = {
            "predictions": [row["change"] * 10.0 + self.offset for row in rows],
            "model": environment["TIDEMILL_MODEL"],
            "version": int(environment["TIDEMILL_VERSION"]),
        }
        return {"Body": SimpleNamespace(read=lambda: json.dumps(document).encode())}

    # As Step Functions calls it.

    def integration(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append((action, request))
        if action == "createProcessingJob.sync":
            if request["ProcessingJobName"].endswith("-evaluate"):
                uri = request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
                write(uri + "evaluation.json", self.evaluation)
            return {"ProcessingJobStatus": "Completed"}
        if action == "createTrainingJob.sync":
            place = request["OutputDataConfig"]["S3OutputPath"] + request["TrainingJobName"]
            artefacts = {"S3ModelArtifacts": f"{place}/output/model.tar.gz"}
            return {"TrainingJobStatus": "Completed", "ModelArtifacts": artefacts}
        if action == "createModel":
            self.models[request["ModelName"]] = request
            return {}
        if action == "createEndpointConfig":
            variant = request["ProductionVariants"][0]
            self.configs[request["EndpointConfigName"]] = variant["ModelName"]
            return {}
        method = {
            "createEndpoint": self.create_endpoint,
            "updateEndpoint": self.update_endpoint,
            "describeEndpoint": self.describe_endpoint,
            "deleteEndpoint": self.delete_endpoint,
        }[action]
        return method(**request)


def _client_error(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")


def write(uri: str, document: Any) -> None:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(document))


@pytest.fixture
def sagemaker(aws: None, monkeypatch: pytest.MonkeyPatch) -> FakeSageMaker:
    fake = FakeSageMaker()
    real = clients.client

    def client(service: str) -> Any:
        return fake if service.startswith("sagemaker") else real(service)

    monkeypatch.setattr(endpoint, "client", client)
    return fake


class Machine:
    """Runs the state machine. `states` are those entered; `break_` makes a state's task raise."""

    def __init__(
        self,
        load: Callable[[str], ModuleType],
        sagemaker: FakeSageMaker,
        context: SimpleNamespace,
    ) -> None:
        text = MACHINE.read_text()
        for name, value in {**PLACEHOLDERS, "TopicArn": topic_arn()}.items():
            text = text.replace("${" + name + "}", value)
        assert "${" not in text
        self.definition = text
        self.load = load
        self.sagemaker = sagemaker
        self.context = context
        self.states: list[str] = []
        self.broken: dict[str, Callable[[], None]] = {}
        self.statements: list[dict[str, Any]] = []
        self.statement_status = ["STARTED", "FINISHED"]
        self.running: set[str] = set()
        self.count = 0

    def break_(self, state: str, error: str = "States.TaskFailed") -> None:
        def fail() -> None:
            raise stepfunctions._ExecutionError(error, f"{state} is broken")

        self.broken[state] = fail

    def run(self, **document: Any) -> dict[str, Any]:
        """One execution: `status`, `output`, `error`, `cause`, `arn`."""
        self.count += 1
        arn = f"{MACHINE_ARN.replace('stateMachine', 'execution')}:{self.count}"
        started = datetime(2026, 11, 20, 20, 11, self.count, tzinfo=UTC)
        execution = {
            "executionArn": arn,
            "stateMachineArn": MACHINE_ARN,
            "name": str(self.count),
            "status": "RUNNING",
            "startDate": started.isoformat().replace("+00:00", "Z"),
            "input": json.dumps(document or {"model": "stock_price"}),
            "events": [],
        }
        self.states = []
        stepfunctions._state_machines[MACHINE_ARN] = {
            "definition": self.definition,
            "name": "tidemill-test-refresh",
        }
        stepfunctions._executions[arn] = execution
        self.running.add(arn)
        try:
            stepfunctions._run_execution(arn)
        finally:
            self.running.discard(arn)
            del stepfunctions._executions[arn]
        output = json.loads(execution.get("output") or "null")
        return {
            "arn": arn,
            "started_at": started,
            "status": execution["status"],
            "output": output,
            "error": execution.get("error"),
            "cause": execution.get("cause"),
        }

    def entered(self, execution: dict[str, Any], kind: str, details: Any = None) -> None:
        del execution
        if kind.endswith("StateEntered"):
            self.states.append(details["stateEnteredEventDetails"]["name"])

    def invoke(self, resource: str, request: Any) -> Any:
        if self.states[-1] in self.broken:
            self.broken[self.states[-1]]()
        service, action = resource.removeprefix("arn:aws:states:::").rsplit(":", 1)
        try:
            if service == "lambda":
                function = request["FunctionName"].removeprefix(ARN)
                document = json.loads(json.dumps(request["Payload"]))
                answer = self.load(function).handler(document, self.context)
                return {"StatusCode": 200, "Payload": json.loads(json.dumps(answer))}
            validate(service, action, request)
            if service.endswith("sagemaker"):
                return self.sagemaker.integration(action, request)
            if service.endswith("redshiftdata"):
                return self.redshift(action, request)
            boto3.client("sns").publish(**request)
            return {"MessageId": "1"}
        except ClientError as error:
            details = error.response["Error"]
            raise stepfunctions._ExecutionError(
                "SDK." + details["Code"], details["Message"]
            ) from error
        except AssertionError:
            raise
        except Exception as error:
            cause = {"errorType": type(error).__name__, "errorMessage": str(error)}
            raise stepfunctions._ExecutionError(type(error).__name__, json.dumps(cause)) from error

    def redshift(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        self.statements.append(request)
        if action == "executeStatement":
            self.asked = 0
            return {"Id": "5c5b2a31-0000-4000-8000-000000000000"}
        if action == "cancelStatement":
            return {"Status": True}
        status = self.statement_status[min(self.asked, len(self.statement_status) - 1)]
        self.asked += 1
        return {
            "Id": request["Id"],
            "Status": status,
            **({"Error": "no"} if status == "FAILED" else {}),
        }


_session = botocore.session.get_session()
_models: dict[str, Any] = {}


def validate(service: str, action: str, request: dict[str, Any]) -> None:
    """Hold a native integration's request to the API's own model."""
    name = service.removeprefix("aws-sdk:").replace("redshiftdata", "redshift-data")
    if name not in _models:
        _models[name] = _session.get_service_model(name)
    operation = action.removesuffix(".sync")
    operation = operation[0].upper() + operation[1:]
    shape = _models[name].operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), f"{service}:{action}: {report.generate_report()}"
    _validate_texts(shape, request, action)


def _validate_texts(shape: Any, value: Any, where: str) -> None:
    if shape.type_name == "structure":
        for name, item in value.items():
            _validate_texts(shape.members[name], item, f"{where}.{name}")
    elif shape.type_name == "list":
        for item in value:
            _validate_texts(shape.member, item, where + "[]")
    elif shape.type_name == "map":
        for item in value.values():
            _validate_texts(shape.value, item, where + "{}")
    elif shape.type_name == "string":
        assert not shape.enum or value in shape.enum, f"{where}: {value}"
        limit = shape.metadata.get("max")
        assert limit is None or len(value) <= limit, f"{where}: {value} is longer than {limit}"
        pattern = shape.metadata.get("pattern")
        assert not pattern or re.fullmatch(pattern, value, re.DOTALL), f"{where}: {value}"


@pytest.fixture
def machine(
    load: Callable[[str], ModuleType],
    sagemaker: FakeSageMaker,
    context: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> Machine:
    made = Machine(load, sagemaker, context)
    monkeypatch.setattr(stepfunctions, "_invoke_resource", made.invoke)
    monkeypatch.setattr(
        stepfunctions,
        "_invoke_resource_with_timeout",
        lambda resource, request, timeout: made.invoke(resource, request),
    )
    monkeypatch.setattr(stepfunctions, "_add_event", made.entered)
    monkeypatch.setattr(stepfunctions, "_emit_execution_status_event", lambda execution: None)
    monkeypatch.setattr(stepfunctions, "_SFN_WAIT_SCALE", 0)
    clock = SimpleNamespace(**{**vars(stepfunctions.time), "sleep": lambda seconds: None})
    monkeypatch.setattr(stepfunctions, "time", clock)
    monkeypatch.setattr(executions, "is_running", lambda arn: arn in made.running)
    sagemaker.evaluation = evaluation()
    return made


def evaluation(
    challenger: float = 3.7, champion: float | None = None, difference: float = 1e-6
) -> dict[str, Any]:
    """An evaluation.json whose smoke rows the fake endpoint answers rightly."""
    rows = [{"ticker_symbol": "QXZ", "sector": "ENERGY", "change": c} for c in (-1.5, 0.0, 2.25)]
    return {
        "rows": 30_716,
        "snapshot_rows": 153_580,
        "dataset_hash": "1" * 32,
        "challenger": {"metrics": {"rmse": challenger, "mae": 3.0, "r2": 0.9}},
        "champion": None if champion is None else {"metrics": {"rmse": champion}},
        "twin": {"largest_difference": difference, "rows": 30_716},
        "smoke": [{"features": row, "prediction": row["change"] * 10.0} for row in rows],
        "artefact_digest": "2" * 64,
    }


@pytest.fixture
def ledger_items(aws: None) -> Callable[[str], list[dict[str, Any]]]:
    """The ledger's items whose sort key begins so, in order."""

    def read(prefix: str, model: str = "stock_price") -> list[dict[str, Any]]:
        table = boto3.resource("dynamodb").Table("ledger")
        items = table.scan(ConsistentRead=True)["Items"]
        found = [i for i in items if i["pk"] == f"MODEL#{model}" and i["sk"].startswith(prefix)]
        return sorted(found, key=lambda item: item["sk"])

    return read


@pytest.fixture(autouse=True)
def no_stray_threads() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() <= before + 1
