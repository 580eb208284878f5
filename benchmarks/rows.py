"""`transform_records` against the least that any check of these rows could do: csv and float().

Both read the same rows in one run. Ours also tells bad rows from good by the model's types, gives
each row its id, and takes records from and to base64 as Firehose has them.
"""

from __future__ import annotations

import base64
import csv
import io
import os
import time
from typing import Any

from benchmarks.pairs import line, pair
from scripts.commands.target import PROJECT
from scripts.generate_data import ROWS, stock_price
from tidemill.envelope import Source
from tidemill.model import load_models
from tidemill.upload import RANGE_BYTES, Position, advance

AIM = 0.6
MODEL = "stock_price"


def main() -> None:
    """Print the ratio of the rates, and both rates."""
    os.environ.setdefault("LAKE_BUCKET", "no-row-is-rejected")
    os.environ.setdefault("MODELS_DIR", str(PROJECT / "models"))
    from lambdas.transform_records.handler import handler

    data = "".join(stock_price(ROWS)).encode()
    events = [_event(record) for record in _records(data)]

    def ours() -> None:
        for event in events:
            handler(event, None)

    def bare() -> None:
        rows = csv.reader(io.StringIO(data.decode()))
        next(rows)
        for row in rows:
            float(row[2])
            float(row[3])

    measured = pair(bare, ours, rounds=9, clock=time.process_time)
    line(
        "rows transformed / a bare csv and float() loop, rates",
        f"{measured.ratio:.2f}  ({ROWS / measured.second:,.0f} / {ROWS / measured.first:,.0f} a s)",
        f"aim {AIM}",
    )


def _records(data: bytes) -> list[tuple[bytes, str]]:
    model = load_models(PROJECT / "models")[MODEL]
    position = Position(Source(MODEL, "bucket", f"stream-input-data/{MODEL}/a.csv", "v"), len(data))
    records = []
    while not position.done:
        step = advance(position, data[position.offset :][:RANGE_BYTES], model)
        records += [(record.data, record.partition_key) for record in step.records]
        position = step.next
    return records


def _event(record: tuple[bytes, str]) -> dict[str, Any]:
    data, partition_key = record
    return {
        "sourceKinesisStreamArn": "arn:aws:kinesis:us-east-1:123456789012:stream/s",
        "records": [
            {
                "recordId": "1",
                "data": base64.b64encode(data).decode(),
                "kinesisRecordMetadata": {
                    "partitionKey": partition_key,
                    "shardId": "shardId-000000000000",
                    "sequenceNumber": "1",
                },
            }
        ],
    }


if __name__ == "__main__":
    main()
