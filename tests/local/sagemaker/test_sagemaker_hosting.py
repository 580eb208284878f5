"""Endpoints tell the truth, keep serving while they change, and come back."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError


@pytest.fixture(scope="module")
def model_data(workshop: Any) -> str:
    name = workshop.start_training()
    return str(workshop.trained(name)["ModelArtifacts"]["S3ModelArtifacts"])


class Stage:
    """Makes models, configurations and endpoints under names of its own."""

    def __init__(self, workshop: Any, model_data: str) -> None:
        self.workshop = workshop
        self.client = workshop.sagemaker
        self.model_data = model_data
        self.made: list[str] = []

    def config(self, serverless: bool = False, what: str = "", **variant: Any) -> str:
        name = f"c-{uuid4().hex[:8]}"
        self.client.create_model(
            ModelName=name,
            PrimaryContainer={
                "Image": self.workshop.image,
                "ModelDataUrl": self.model_data,
                "Environment": {"VERSION": name, "WHAT": what},
            },
            ExecutionRoleArn=self.workshop.job_role,
        )
        place = {"InstanceType": "ml.t2.medium", "InitialInstanceCount": 1}
        if serverless:
            place = {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 2}}  # type: ignore[dict-item]  # a variant is not uniform
        self.client.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {"VariantName": "AllTraffic", "ModelName": name, **place, **variant}
            ],
        )
        return name

    def endpoint(self, config: str) -> str:
        name = f"e-{uuid4().hex[:8]}"
        self.client.create_endpoint(EndpointName=name, EndpointConfigName=config)
        self.made.append(name)
        return name

    def settled(self, name: str, seconds: float = 20.0) -> dict[str, Any]:
        limit = time.monotonic() + seconds
        while True:
            found: dict[str, Any] = self.client.describe_endpoint(EndpointName=name)
            if found["EndpointStatus"] not in ("Creating", "Updating", "Deleting"):
                return found
            assert time.monotonic() < limit, found
            time.sleep(0.05)

    def invoke(self, name: str, body: str = "hi", **more: Any) -> dict[str, Any]:
        answer = self.workshop.runtime.invoke_endpoint(
            EndpointName=name, Body=body, ContentType="text/csv", Accept="text/plain", **more
        )
        assert answer["InvokedProductionVariant"] == "AllTraffic"
        assert answer["ContentType"] == "application/json"
        return dict(json.loads(answer["Body"].read()))


@pytest.fixture
def stage(workshop: Any, model_data: str) -> Any:
    made = Stage(workshop, model_data)
    yield made
    for name in made.made:
        try:
            made.settled(name)
            workshop.sagemaker.delete_endpoint(EndpointName=name)
        except ClientError:
            continue


def gone(pid: int, seconds: float = 10.0) -> bool:
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_an_endpoint_serves_its_model(stage: Stage) -> None:
    config = stage.config()
    name = stage.endpoint(config)
    assert stage.client.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Creating"
    described = stage.settled(name)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", config)
    answer = stage.invoke(name)
    assert (answer["body"], answer["type"], answer["accept"]) == ("hi", "text/csv", "text/plain")
    assert answer["model"].startswith("train-")
    stage.client.delete_endpoint(EndpointName=name)
    assert gone(answer["pid"])
    with pytest.raises(ClientError, match=r'Could not find endpoint "arn:aws:sagemaker:.*"'):
        stage.settled(name)
    with pytest.raises(ClientError, match=rf"Endpoint {name} of account \d+ not found\."):
        stage.invoke(name)


def test_an_update_drops_no_request(stage: Stage) -> None:
    name = stage.endpoint(stage.config())
    stage.settled(name)
    old = stage.invoke(name)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(stage.invoke, name, "sleep 1.5")
        time.sleep(0.2)
        config = stage.config()
        stage.client.update_endpoint(EndpointName=name, EndpointConfigName=config)
        during = stage.client.describe_endpoint(EndpointName=name)
        assert during["EndpointStatus"] == "Updating"
        assert during["PendingDeploymentSummary"]["EndpointConfigName"] == config
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            stage.client.update_endpoint(EndpointName=name, EndpointConfigName=config)
        seen = set()
        while stage.client.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Updating":
            seen.add(stage.invoke(name)["version"])
        assert seen <= {old["version"], config}
        assert stage.invoke(name)["version"] == config
        assert slow.result()["pid"] == old["pid"]
    assert stage.client.describe_endpoint(EndpointName=name)["EndpointConfigName"] == config
    assert gone(old["pid"])


def test_a_container_that_does_not_answer(stage: Stage) -> None:
    good = stage.config()
    name = stage.endpoint(good)
    stage.settled(name)
    before = stage.invoke(name)
    bad = stage.config(what="crash")
    stage.client.update_endpoint(EndpointName=name, EndpointConfigName=bad)
    described = stage.settled(name)
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == good
    assert "did not pass the ping health check" in described["FailureReason"]
    assert stage.invoke(name) == before
    failed = stage.settled(stage.endpoint(bad))
    assert failed["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in failed["FailureReason"]


def test_a_model_error_carries_what_the_model_said(stage: Stage) -> None:
    name = stage.endpoint(stage.config())
    stage.settled(name)
    with pytest.raises(ClientError) as refused:
        stage.invoke(name, "status 418")
    answer: Any = refused.value.response
    assert answer["Error"]["Code"] == "ModelError"
    assert answer["OriginalStatusCode"] == 418
    assert answer["OriginalMessage"] == "as you wish"
    assert 'Received client error (418) from primary with message "as you wish"' in str(
        refused.value
    )


def test_a_dead_process_is_replaced(stage: Stage) -> None:
    name = stage.endpoint(stage.config())
    stage.settled(name)
    first = stage.invoke(name)
    os.kill(first["pid"], signal.SIGKILL)
    assert gone(first["pid"])
    second = stage.invoke(name)
    assert second["pid"] != first["pid"]
    with pytest.raises(ClientError) as refused:
        stage.invoke(name, "die")
    assert refused.value.response["Error"]["Code"] == "ModelError"
    assert gone(second["pid"])
    assert stage.invoke(name)["pid"] != second["pid"]


def test_a_serverless_variant_takes_so_many_at_once(stage: Stage) -> None:
    name = stage.endpoint(stage.config(serverless=True))
    described = stage.settled(name)
    assert described["ProductionVariants"][0]["CurrentServerlessConfig"]["MaxConcurrency"] == 2
    once = Config(retries={"total_max_attempts": 1})
    impatient = stage.workshop.client("sagemaker-runtime", config=once)
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(stage.invoke, name, "sleep 1") for _ in range(2)]
        time.sleep(0.4)
        with pytest.raises(ClientError) as refused:
            impatient.invoke_endpoint(EndpointName=name, Body="x")
        assert refused.value.response["Error"]["Code"] == "ThrottlingException"
        assert all(call.result() for call in slow)


def test_models_are_checked_when_they_are_made(stage: Stage) -> None:
    def make(**container: Any) -> None:
        stage.client.create_model(
            ModelName=f"m-{uuid4().hex[:8]}",
            PrimaryContainer={"Image": stage.workshop.image, **container},
            ExecutionRoleArn=stage.workshop.job_role,
        )

    with pytest.raises(ClientError, match="Could not find model data at s3://workshop/none"):
        make(ModelDataUrl="s3://workshop/none.tar.gz")
    with pytest.raises(ClientError, match=r"Requested image .*@sha256:0+ not found"):
        make(Image=stage.workshop.image.partition("@")[0] + "@sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda client: client.describe_model(ModelName="x"),
            'Could not find model "arn:aws:sagemaker:us-east-1:000000000000:model/x".',
        ),
        (
            lambda client: client.create_endpoint(EndpointName="x", EndpointConfigName="x"),
            'Could not find endpoint configuration "arn:aws:sagemaker:us-east-1:000000000000:'
            'endpoint-config/x".',
        ),
        (
            lambda client: client.update_endpoint(EndpointName="x", EndpointConfigName="x"),
            "Could not find endpoint configuration",
        ),
        (
            lambda client: client.delete_endpoint(EndpointName="x"),
            'Could not find endpoint "arn:aws:sagemaker:us-east-1:000000000000:endpoint/x".',
        ),
    ],
)
def test_what_is_not_there_is_told_as_sagemaker_does(
    workshop: Any, call: Callable[[Any], Any], text: str
) -> None:
    with pytest.raises(ClientError) as missing:
        call(workshop.sagemaker)
    assert missing.value.response["Error"]["Code"] == "ValidationException"
    assert text in missing.value.response["Error"]["Message"]
