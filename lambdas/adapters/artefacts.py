"""The artefacts bucket: small JSON documents of a run."""

from __future__ import annotations

import json
from typing import Any

from lambdas.adapters.clients import client


def read_json(uri: str) -> Any:
    """Read the JSON document at an `s3://bucket/key` address; raises botocore's errors."""
    bucket, key = _parts(uri)
    return json.loads(client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())


def write_json(uri: str, document: Any) -> None:
    """Write a JSON document to an `s3://bucket/key` address; again overwrites it."""
    bucket, key = _parts(uri)
    body = json.dumps(document, allow_nan=False).encode()
    client("s3").put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")


def _parts(uri: str) -> tuple[str, str]:
    bucket, slash, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not slash or not key:
        raise ValueError(f"not the address of an S3 object: {uri!r}")
    return bucket, key
