"""Writes rejected rows into the lake."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from tidemill.rejection import Rejection


@functools.cache
def _s3() -> Any:
    # Most records have no bad row, and then boto3 is never imported.
    import boto3

    return boto3.client("s3")


class Rejections:
    """The `rejected/` prefix of a lake bucket."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def write(self, rejections: Iterable[Rejection]) -> None:
        """Write one object each; a retry overwrites. Raises what boto3 raises."""
        for rejection in rejections:
            _s3().put_object(
                Bucket=self._bucket,
                Key=rejection.key,
                Body=rejection.body,
                ContentType="application/jsonl",
            )
