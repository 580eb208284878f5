"""Firehose's transform: records of the stream become CSV lines for the lake, by model."""

# A cold start would wait for pathlib longer than for any module of ours.
# ruff: noqa: PTH100, PTH118, PTH120

from __future__ import annotations

import binascii
import functools
import os
from collections.abc import Mapping
from typing import Any

from lambdas.adapters.rejections import Rejections
from lambdas.adapters.tracing import traced
from tidemill.model import load_models
from tidemill.records import StreamRecord, Transformer

RESPONSE_BYTES = 5_500_000
"""Firehose takes 6 MB."""
_RECORD_OVERHEAD = 300
"""Bytes of a record in the response besides its ids and its data."""

_ASSET = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@functools.cache
def _transformer() -> Transformer:
    return Transformer(load_models(os.environ.get("MODELS_DIR", os.path.join(_ASSET, "models"))))


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:  # noqa: ARG001  # Lambda's signature
    """Answer with a result for each record: Ok, or Dropped where no row of it is good.

    A record whose rows would make the response too large is failed, so that Firehose keeps it
    under `errors/`. The lines of a record are bounded so that this happens to none of the batches
    that the delivery stream is set to make.
    """
    stream = event.get("sourceKinesisStreamArn", "")
    rejections = Rejections(os.environ["LAKE_BUCKET"])
    size = accepted = rejected = failed = 0
    results = []
    for record in event["records"]:
        done = _transformer().transform(_stream_record(record, stream))
        data = binascii.b2a_base64(done.lines, newline=False).decode("ascii")
        answer = len(data) + len(record["recordId"]) + _RECORD_OVERHEAD
        if size + answer > RESPONSE_BYTES:
            size += answer - len(data)
            failed += 1
            results.append(_result(record, "ProcessingFailed"))
            continue
        size += answer
        accepted += done.rows
        if done.rejection:
            rejections.write([done.rejection])
            rejected += done.rejection.rows
        if done.rows:
            metadata = {"partitionKeys": {"model": done.model}}
            results.append(_result(record, "Ok", data=data, metadata=metadata))
        else:
            results.append(_result(record, "Dropped"))
    if rejected or failed:
        _tell(accepted, rejected, failed)
    return {"records": results}


def _result(record: Mapping[str, Any], result: str, **rest: Any) -> dict[str, Any]:
    return {"recordId": record["recordId"], "result": result, **rest}


def _stream_record(record: Mapping[str, Any], stream: str) -> StreamRecord:
    metadata = record["kinesisRecordMetadata"]
    return StreamRecord(
        binascii.a2b_base64(record["data"]),
        metadata["partitionKey"],
        stream,
        metadata["shardId"],
        metadata["sequenceNumber"],
    )


def _tell(accepted: int, rejected: int, failed: int) -> None:
    # Importing Powertools doubles the cold start, and good rows are counted where they are sent.
    from aws_lambda_powertools import Logger, Metrics
    from aws_lambda_powertools.metrics import MetricUnit

    counts = {"rows_accepted": accepted, "rows_rejected": rejected, "records_failed": failed}
    metrics = Metrics()
    for name, count in counts.items():
        metrics.add_metric(name, MetricUnit.Count, count)
    metrics.flush_metrics()
    Logger().warning("not every row is accepted", extra=counts)
