"""A model's SageMaker endpoint: what it serves, asking it, and bringing the champion back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError

from lambdas.adapters.clients import client
from tidemill.errors import TidemillError

_SETTLING = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})


class EndpointBusyError(TidemillError):
    """The endpoint is still changing; the same call succeeds later."""


@dataclass(frozen=True)
class Endpoint:
    """What an endpoint is: its status, and the name of its active configuration."""

    status: str
    config: str


class Step(StrEnum):
    """What `bring_back` found or did."""

    DONE = "done"
    BEGUN = "begun"
    BUSY = "busy"


def describe(name: str) -> Endpoint | None:
    """Return the endpoint, or None where there is none."""
    try:
        answer = client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    return Endpoint(answer["EndpointStatus"], answer.get("EndpointConfigName", ""))


def is_missing(error: ClientError) -> bool:
    """Whether SageMaker says that there is no such endpoint, for which it has no code."""
    message = error.response["Error"]["Message"].lower()
    return "could not find endpoint" in message or "not found" in message


def bring_back(name: str, champion_config: str | None) -> Step:
    """Take one step to the endpoint that the champion needs, or to none before the first.

    Never waits: DONE where nothing is left to do, BEGUN where SageMaker now changes it, BUSY
    where it cannot be changed yet.
    """
    sagemaker = client("sagemaker")
    found = describe(name)
    if found is None and champion_config is None:
        return Step.DONE
    if found is None:
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=champion_config)
    elif found.status in _SETTLING:
        return Step.BUSY
    elif champion_config is None or found.status != "InService":
        sagemaker.delete_endpoint(EndpointName=name)
        # With a champion the endpoint is only half-way there.
        return Step.BEGUN if champion_config is None else Step.BUSY
    elif found.config == champion_config:
        return Step.DONE
    else:
        sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=champion_config)
    return Step.BEGUN


def predict(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Ask the endpoint for predictions of several rows; returns its answer's document."""
    answer = client("sagemaker-runtime").invoke_endpoint(
        EndpointName=name,
        ContentType="application/json",
        Accept="application/json",
        Body=json.dumps({"rows": list(rows)}).encode(),
    )
    document: dict[str, Any] = json.loads(answer["Body"].read())
    return document
