"""Clients of AWS's services, one a service, made at their first use."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def client(service: str) -> Any:
    """Return the client of `service`; region, credentials and endpoint are the environment's."""
    # Importing these takes longer than all the rest, and many a call needs no service. boto3
    # makes the same clients, but loads its transfer manager first: as long again.
    from botocore.config import Config
    from botocore.session import get_session

    # A call that hangs must leave its Lambda time for another attempt.
    config = Config(
        connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4}
    )
    return get_session().create_client(service, config=config)
