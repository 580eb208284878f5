"""boto3 clients, one a service, made at their first use."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

# A call that hangs must leave its Lambda time for another attempt.
_CONFIG = Config(
    connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4}
)
_make: Callable[..., Any] = boto3.client  # its overloads name every service of AWS


@cache
def client(service: str) -> Any:
    """Return the client of `service`; region, credentials and endpoint are the environment's."""
    return _make(service, config=_CONFIG)
