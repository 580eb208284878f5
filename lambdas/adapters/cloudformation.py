"""Answers CloudFormation's custom resources."""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Literal

Status = Literal["SUCCESS", "FAILED"]

_TIMEOUT_SECONDS = 10.0
_ATTEMPTS = 4
_REASON_LIMIT = 1000  # an answer may hold 4096 bytes in all

_logger = logging.getLogger(__name__)


def respond(
    event: Mapping[str, Any],
    status: Status,
    physical_id: str,
    data: Mapping[str, str] | None = None,
    reason: str = "",
) -> None:
    """Put a custom resource's answer at the event's `ResponseURL`.

    `data` holds the attributes that `Fn::GetAtt` may read; `reason` is what a person sees when
    the resource fails. Four attempts of at most 10 seconds each; raises `OSError` after the last,
    since a stack that gets no answer waits for its time-out.
    """
    url = event["ResponseURL"]
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"a ResponseURL must be an HTTP address, not {url[:40]!r}")
    body = json.dumps(
        {
            "Status": status,
            "Reason": reason[:_REASON_LIMIT] or f"{status}: see the function's log",
            "PhysicalResourceId": physical_id,
            "StackId": event["StackId"],
            "RequestId": event["RequestId"],
            "LogicalResourceId": event["LogicalResourceId"],
            "Data": dict(data or {}),
        }
    ).encode()
    # A presigned URL is signed for an empty content type.
    headers = {"content-type": "", "content-length": str(len(body))}
    for attempt in range(1, _ATTEMPTS + 1):
        request = urllib.request.Request(url, body, headers, method="PUT")  # noqa: S310 - checked above
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310 - as above
                return
        except OSError as error:
            if attempt == _ATTEMPTS or _is_final(error):
                raise
            _logger.warning("answer not delivered (attempt %d): %s", attempt, error)
            time.sleep(2**attempt / 4)


def _is_final(error: OSError) -> bool:
    """Whether another attempt would be answered the same."""
    return isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500
