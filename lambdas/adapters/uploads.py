"""Uploaded files: their bytes, their state in the uploads table, what is left of them to read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from lambdas.adapters.clients import client
from tidemill.upload import RANGE_BYTES, Position


class Uploads:
    """The uploads table, the input bucket behind it and the queue of what is still to be read."""

    def __init__(self, table: str, queue_url: str) -> None:
        self._table = table
        self._queue_url = queue_url

    def read(self, position: Position) -> bytes:
        """Return the next range of a file, from the position on; empty for an empty file."""
        if position.done:
            return b""  # S3 has no range of nothing.
        source = position.source
        last = min(position.offset + RANGE_BYTES, position.size) - 1
        request: dict[str, Any] = {
            "Bucket": source.bucket,
            "Key": source.key,
            "Range": f"bytes={position.offset}-{last}",
        }
        if source.version_id:
            request["VersionId"] = source.version_id
        data: bytes = client("s3").get_object(**request)["Body"].read()
        return data

    def chain(self, position: Position) -> None:
        """Leave the rest of a file to another invocation."""
        client("sqs").send_message(
            QueueUrl=self._queue_url, MessageBody=json.dumps(position.to_message())
        )

    def streaming(self, position: Position) -> None:
        """Note that a file is being read; one that was sent before, all of it, stays sent."""
        dynamodb = client("dynamodb")
        try:
            dynamodb.put_item(
                TableName=self._table,
                Item=_item(position, "streaming", 0),
                ConditionExpression="attribute_not_exists(source_id) OR #state <> :sent",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={":sent": {"S": "sent"}},
            )
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return

    def sent(self, position: Position) -> None:
        """Note that every row of a file is in the stream or rejected."""
        item = _item(position, "sent", position.rows)
        client("dynamodb").put_item(TableName=self._table, Item=item)

    def refused(self, position: Position, reason: str) -> None:
        """Note that a file is refused as a whole, and why."""
        item = {**_item(position, "refused", 0), "reason": {"S": reason}}
        client("dynamodb").put_item(TableName=self._table, Item=item)


def _item(position: Position, state: str, rows: int) -> dict[str, Any]:
    source = position.source
    return {
        "source_id": {"S": position.id},
        "model": {"S": source.model},
        "bucket": {"S": source.bucket},
        "key": {"S": source.key},
        "version_id": {"S": source.version_id},
        "size": {"N": str(position.size)},
        "rows_sent": {"N": str(rows)},
        "state": {"S": state},
        "updated_at": {"S": datetime.now(UTC).isoformat(timespec="seconds")},
    }
