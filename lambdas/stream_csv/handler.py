"""Streams uploaded CSV files: SQS messages of S3 notifications, or of files to go on with."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)

from lambdas.adapters.rejections import Rejections
from lambdas.adapters.stream import Stream
from lambdas.adapters.tracing import traced
from lambdas.adapters.uploads import Uploads
from lambdas.stream_csv.sender import Outcome, Sender
from tidemill.envelope import Source
from tidemill.model import load_models
from tidemill.upload import Position, model_of

logger = Logger()
metrics = Metrics()

_ASSET = Path(__file__).parents[2]


@functools.cache
def _sender() -> Sender:
    return Sender(
        models=load_models(os.environ.get("MODELS_DIR", _ASSET / "models")),
        uploads=Uploads(os.environ["UPLOADS_TABLE"], os.environ["QUEUE_URL"]),
        stream=Stream(os.environ["STREAM_NAME"]),
        rejections=Rejections(os.environ["LAKE_BUCKET"]),
    )


@logger.inject_lambda_context
@metrics.log_metrics
@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Send the files that the messages name; failed messages alone are delivered again."""
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000
    return dict(
        process_partial_response(
            event=event,
            record_handler=functools.partial(_send, deadline=deadline),
            processor=BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False),
        )
    )


def _send(record: dict[str, Any], deadline: float) -> None:
    for position in positions(json.loads(record["body"])):
        try:
            outcome, end = _sender().send(position, deadline)
        except Exception:
            # The batch processor keeps the error to itself.
            logger.exception("file failed", extra={"key": position.source.key})
            raise
        logger.info(
            f"file {outcome.value}",
            extra={"source_id": end.id, "key": end.source.key, "rows": end.rows},
        )
        metrics.add_metric("rows_sent", MetricUnit.Count, end.rows - position.rows)
        if outcome is Outcome.REFUSED:
            metrics.add_metric("files_refused", MetricUnit.Count, 1)


def positions(body: dict[str, Any]) -> Iterator[Position]:
    """Yield where to begin with each file that a message names; a test event names none."""
    if Position.is_message(body):
        yield Position.from_message(body)
        return
    for record in body.get("Records", []):
        bucket, item = record["s3"]["bucket"]["name"], record["s3"]["object"]
        key = unquote_plus(item["key"])
        source = Source(model_of(key), bucket, key, item.get("versionId", ""))
        yield Position(source, item["size"])
