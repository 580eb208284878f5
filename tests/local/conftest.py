"""One local cloud for a whole session of tests, reached by real boto3 over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import boto3
import pytest

from local import cloud as local_cloud


class Client(Protocol):
    def __call__(self, service: str, **credentials: str) -> Any: ...


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_cloud.Cloud]:
    directory = Path(tmp_path_factory.mktemp("cloud"))
    try:
        yield local_cloud.start(directory)
    finally:
        local_cloud.stop(directory)


def client_of(running: local_cloud.Cloud, service: str, **credentials: str) -> Any:
    """A boto3 client of a cloud, as the administrator unless other credentials are given."""
    return boto3.client(  # type: ignore[call-overload]  # the name is not a literal
        service,
        region_name=running.region,
        endpoint_url=running.endpoint_url,
        verify=str(running.authority),
        **{
            "aws_access_key_id": running.access_key,
            "aws_secret_access_key": running.secret_key,
            **credentials,
        },
    )


@pytest.fixture(scope="session")
def client(cloud: local_cloud.Cloud) -> Client:
    def make(service: str, **credentials: str) -> Any:
        return client_of(cloud, service, **credentials)

    return make
