"""Traces of a function's calls in X-Ray."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


def traced(handler: Handler) -> Handler:
    """Let Powertools' Tracer capture the calls of `handler` that X-Ray samples.

    The tracer is made at the first of them: X-Ray's library takes twice as long to import as
    boto3, and most cold starts are not sampled.
    """

    @functools.cache
    def captured() -> Handler:
        from aws_lambda_powertools import Tracer

        capture: Callable[..., Handler] = Tracer(auto_patch=False).capture_lambda_handler
        return capture(handler, capture_response=False)

    @functools.wraps(handler)
    def wrapper(event: dict[str, Any], context: Any) -> dict[str, Any]:
        is_sampled = "Sampled=1" in os.environ.get("_X_AMZN_TRACE_ID", "")
        return (captured() if is_sampled else handler)(event, context)

    return wrapper
