"""Answers one request of the API: checks it, asks the model's endpoint, passes the answer on."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from lambdas.adapters import inference
from lambdas.adapters.environment import models_directory, read_environment
from lambdas.adapters.inference import BusyError, NotInServiceError, RefusedError
from lambdas.adapters.ledger import Ledger
from lambdas.adapters.tracing import traced
from tidemill.model import Model, load_models
from tidemill.prediction import RequestError, accept
from tidemill.run import endpoint_name


@dataclass(frozen=True)
class Environment:
    """What the stack tells this function."""

    ledger_table: str
    name_prefix: str


environment = read_environment(Environment)
ledger = Ledger(environment.ledger_table)
logger = Logger()
metrics = Metrics()

_in_service: set[str] = set()  # models with a champion: one that has had one always has one

Response = dict[str, Any]


@cache
def models() -> dict[str, Model]:
    """Return every model of this deployment."""
    return load_models(models_directory())


@logger.inject_lambda_context
@metrics.log_metrics
@traced
def handler(event: dict[str, Any], context: LambdaContext) -> Response:  # noqa: ARG001 - Lambda's signature
    """Answer an API Gateway proxy event for `POST /<model>`.

    Integrations: SageMaker Runtime; DynamoDB until the model has its first champion. Raises
    nothing that a caller could cause.
    """
    name = event["resource"].strip("/")
    model = models().get(name)
    metrics.add_dimension("model", name if model else "unknown")
    if model is None:
        response = _error(404, "unknown_model", f"there is no model {name!r}")
    else:
        response = answer(model, event)
    metrics.add_metric(f"Answers{response['statusCode'] // 100}xx", MetricUnit.Count, 1)
    return response


def answer(model: Model, event: dict[str, Any]) -> Response:
    """Return the response to a request for `model`; each way to fail has a code of its own."""
    try:
        body = accept(model, _body(event))
        if not has_champion(model.name):
            return _not_in_service(model)
        name = endpoint_name(environment.name_prefix, model.name)
        return _response(200, inference.invoke(name, body).decode())
    except RequestError as error:
        return _error(400, error.code, str(error))
    except RefusedError as error:
        return _error(400, "refused", str(error))
    except NotInServiceError as error:
        logger.warning("endpoint not in service", extra={"model": model.name, "why": str(error)})
        return _not_in_service(model)
    except BusyError:
        return _error(503, "busy", f"{model.name} has no capacity left: try again in a moment")
    except (BotoCoreError, ClientError):
        # What it says is for the operator, not for the caller.
        logger.exception("the endpoint could not answer", extra={"model": model.name})
        return _error(502, "endpoint_failed", f"{model.name} could not answer: try again later")


def has_champion(model: str) -> bool:
    """Whether the model has ever had a champion; asks the ledger only until it has."""
    if model not in _in_service and ledger.champion(model) is not None:
        _in_service.add(model)
    return model in _in_service


def _body(event: dict[str, Any]) -> bytes:
    text = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(text).encode()
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise RequestError("invalid_json", "the body is not JSON") from None


def _not_in_service(model: Model) -> Response:
    message = f"{model.name} has no champion yet: its first refresh has to end with a release"
    return _error(503, "no_champion", message)


def _error(status: int, code: str, message: str) -> Response:
    return _response(status, json.dumps({"error": code, "message": message}))


def _response(status: int, body: str) -> Response:
    headers = {"content-type": "application/json"}
    if status == 503:
        headers["retry-after"] = "5"
    return {"statusCode": status, "headers": headers, "body": body}
