"""Writes rejected rows into the lake."""

from __future__ import annotations

from collections.abc import Iterable

from lambdas.adapters.clients import client
from tidemill.rejection import Rejection


class Rejections:
    """The `rejected/` prefix of a lake bucket."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket

    def write(self, rejections: Iterable[Rejection]) -> None:
        """Write one object each; a retry overwrites. Raises what boto3 raises."""
        for rejection in rejections:
            client("s3").put_object(
                Bucket=self._bucket,
                Key=rejection.key,
                Body=rejection.body,
                ContentType="application/jsonl",
            )
