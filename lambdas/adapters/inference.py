"""Asking an endpoint on behalf of a waiting caller: quickly, or with a reason why not."""

from __future__ import annotations

from functools import cache
from typing import Any

# At once, unlike elsewhere: no call does without it, and Lambda's start has more CPU than a call.
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import get_session

# API Gateway gives up after 29 seconds; two attempts must fit.
_CONFIG = Config(
    connect_timeout=2, read_timeout=12, retries={"mode": "standard", "total_max_attempts": 2}
)

_BUSY = frozenset({"ThrottlingException", "ServiceUnavailable", "ModelNotReadyException"})


class NotInServiceError(Exception):
    """There is no endpoint, or it serves nobody yet."""


class BusyError(Exception):
    """The endpoint has no capacity left; the same call succeeds later."""


class RefusedError(Exception):
    """The version refuses the request; the text is its own."""


@cache
def _runtime() -> Any:
    return get_session().create_client("sagemaker-runtime", config=_CONFIG)


def invoke(endpoint: str, body: bytes) -> bytes:
    """Return the endpoint's answer to a JSON request, unread.

    Raises NotInServiceError, BusyError, RefusedError, and botocore's errors for the rest.
    """
    try:
        answer = _runtime().invoke_endpoint(
            EndpointName=endpoint,
            ContentType="application/json",
            Accept="application/json",
            Body=body,
        )
    except ClientError as error:
        raise _translate(error) from error
    content: bytes = answer["Body"].read()
    return content


def _translate(error: ClientError) -> Exception:
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code in ("ValidationError", "ValidationException"):
        # The API has one code for all; whether a request is well formed is ours to see to.
        return NotInServiceError(message)
    if code in _BUSY:
        return BusyError(message)
    answer: dict[str, Any] = {**error.response}  # its type knows no member of a single API
    if code == "ModelError" and 400 <= answer.get("OriginalStatusCode", 500) < 500:
        return RefusedError(str(answer.get("OriginalMessage", message)))
    return error
