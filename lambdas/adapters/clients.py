"""boto3 clients, one a service, made at their first use."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any


@cache
def client(service: str) -> Any:
    """Return the client of `service`; region, credentials and endpoint are the environment's."""
    # Importing boto3 takes longer than all the rest, and many a call needs no service.
    import boto3
    from botocore.config import Config

    make: Callable[..., Any] = boto3.client  # its overloads name every service of AWS
    # A call that hangs must leave its Lambda time for another attempt.
    config = Config(
        connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4}
    )
    return make(service, config=config)
