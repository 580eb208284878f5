"""`stream`: upload a CSV and follow its rows until the warehouse has counted every one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.commands.console import CommandError, Console, Stopwatch, backoff
from scripts.commands.target import LOCAL, Target
from scripts.commands.warehouse import Warehouse
from tidemill.rows import source_id


@dataclass(frozen=True)
class Streamed:
    """What became of one upload: `sent` = `loaded` + `rejected` when it is done."""

    model: str
    source: str
    source_id: str
    sent: int
    loaded: int
    rejected: int
    in_warehouse: int
    seconds: float
    refused: str | None
    reasons: dict[str, int]


def stream(target: Target, console: Console, model: str, file: Path, timeout: float) -> Streamed:
    """Upload `file` for `model` and wait until its rows are counted.

    Raises `CommandError` where the file is missing or the rows do not arrive in `timeout`
    seconds.
    """
    target.require_model(model)
    if not file.is_file():
        raise CommandError(f"there is no file {file}")
    watch = Stopwatch()
    bucket = target.outputs["InputBucket"]
    key = f"stream-input-data/{model}/{file.name}"
    with console.working(f"uploading {file.name}"):
        with file.open("rb") as body:
            put = target.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
        source = source_id(bucket, key, put["VersionId"])
    follower = _Follower(target, model, source)
    with console.working("streaming") as status:
        for _ in backoff(0.1, 1.0 if target.name == LOCAL else 15.0, factor=1.3):
            state = follower.look()
            status.update(
                f"streaming: {state.sent:,} rows sent, {state.loaded:,} loaded, "
                f"{state.rejected:,} rejected"
            )
            if state.done:
                break
            if watch.seconds > timeout:
                raise CommandError(
                    f"after {timeout:.0f} s {state.loaded:,} of {state.sent:,} rows are loaded and "
                    f"{state.rejected:,} rejected",
                    f"look at what holds them: {target.command('logs load_warehouse')}; "
                    "the rows are kept and go on by themselves",
                )
    return Streamed(
        model=model,
        source=f"s3://{bucket}/{key}?versionId={put['VersionId']}",
        source_id=source,
        sent=state.sent,
        loaded=state.loaded,
        rejected=state.rejected,
        in_warehouse=follower.warehouse.count(model),
        seconds=round(watch.seconds, 2),
        refused=state.refused,
        reasons=follower.reasons(),
    )


def show(console: Console, result: Streamed) -> None:
    """Print what became of an upload."""
    lines = [
        f"sent {result.sent:,}  loaded {result.loaded:,}  rejected {result.rejected:,}  "
        f"in {result.seconds:.1f} s",
        f"{result.model} has {result.in_warehouse:,} rows in the warehouse",
    ]
    if result.refused:
        lines = [f"the file was refused: {result.refused}", *lines[1:]]
    lines += [f"  {count:,} rejected: {reason}" for reason, count in result.reasons.items()]
    console.result(asdict(result), lines)


@dataclass(frozen=True)
class _State:
    sent: int
    loaded: int
    rejected: int
    refused: str | None
    read: bool

    @property
    def done(self) -> bool:
        if self.refused is not None:
            return True
        return self.read and self.loaded + self.rejected >= self.sent


class _Follower:
    def __init__(self, target: Target, model: str, source: str) -> None:
        self.warehouse = Warehouse(target)
        self._target = target
        self._model = model
        self._source = source

    def look(self) -> _State:
        table = self._target.outputs["UploadsTable"]
        item: dict[str, Any] = (
            self._target.client("dynamodb")
            .get_item(TableName=table, Key={"source_id": {"S": self._source}}, ConsistentRead=True)
            .get("Item", {})
        )
        state = item.get("state", {}).get("S", "")
        sent = int(item.get("rows_sent", {}).get("N", "0"))
        refused = item.get("reason", {}).get("S", "no reason given") if state == "refused" else None
        read = state == "sent"
        # The warehouse is billed while it is asked, so it is left alone until the file is read.
        loaded = self.warehouse.count(self._model, self._source) if read else 0
        return _State(sent, loaded, sum(n for _, n in self._rejections()), refused, read)

    def _rejections(self) -> list[tuple[str, int]]:
        """The rejection objects of the upload, each with the number of rows that its name tells."""
        pages = (
            self._target.client("s3")
            .get_paginator("list_objects_v2")
            .paginate(
                Bucket=self._target.outputs["LakeBucket"],
                Prefix=f"rejected/{self._model}/{self._source}/",
            )
        )
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return [(key, int(key.removesuffix(".jsonl").rpartition("-")[2])) for key in keys]

    def reasons(self) -> dict[str, int]:
        """How many rows each reason rejected, most first."""
        counts: dict[str, int] = {}
        for key, _ in self._rejections():
            answer = self._target.client("s3").get_object(
                Bucket=self._target.outputs["LakeBucket"], Key=key
            )
            for line in answer["Body"].iter_lines():
                reason = json.loads(line)["reason"]
                counts[reason] = counts.get(reason, 0) + 1
        return dict(sorted(counts.items(), key=lambda pair: -pair[1]))
