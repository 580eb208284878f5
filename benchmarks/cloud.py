"""The local cloud with every stack: deploying, streaming, a refresh, predictions, its memory.

Streaming is set against a direct COPY of the same file, and rows packed into records against
a record a row.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.pairs import line, seconds
from local import cloud
from scripts.commands import deploy, predict, refresh, stream
from scripts.commands.console import Console, Stopwatch
from scripts.commands.target import LOCAL, PROJECT, Target
from scripts.commands.warehouse import Warehouse
from scripts.demo import MODEL, ROWS, example_features
from scripts.generate_data import write_stock_price

PUT_UNIT = 25 * 1024
"""Bytes of a PUT payload unit: Kinesis bills one for each that a record begins."""
CALLS = 200


def main() -> None:
    """Bring a cloud up in a folder of its own, measure, and take it down."""
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        target = Target(LOCAL, "dev", Path(folder) / "state", PROJECT / "models")
        try:
            _measure(target, Path(folder))
        finally:
            cloud.stop(target.directory)


def _measure(target: Target, folder: Path) -> None:
    console = Console()
    taken = seconds(lambda: deploy.up(target, console, port=None, assume_yes=True))
    line("up: start, bootstrap, deploy all stacks", f"{taken:.1f} s", "aim 30 s")
    data = folder / f"{MODEL}.csv"
    write_stock_price(data, ROWS)
    _stream(target, console, data)
    taken = seconds(lambda: refresh.refresh(target, console, MODEL))
    line("refresh, from start to promoted", f"{taken:.1f} s", "aim 20 s")
    _predictions(target)
    _memory(target)


def _stream(target: Target, console: Console, data: Path) -> None:
    streamed = stream.stream(target, console, MODEL, data, timeout=600).seconds
    line(f"stream {ROWS:,} rows, from upload to counted", f"{streamed:.1f} s", "aim 10 s")
    copied = _copy(target, data)
    line("stream / a direct COPY of the same file", f"{streamed / copied:.1f}  ({copied:.2f} s)")
    sizes = _record_sizes(target)
    units = sum(math.ceil(size / PUT_UNIT) for size in sizes)
    line(
        "a record a row / rows packed, PUT payload units",
        f"{ROWS / units:.0f}  ({ROWS:,} / {units:,})",
    )
    line(
        "a record a row / rows packed, PutRecords calls",
        f"{math.ceil(ROWS / 500) / math.ceil(len(sizes) / 500):.0f}  ({len(sizes)} records)",
    )


def _copy(target: Target, data: Path) -> float:
    """Seconds to upload the file and COPY it into a table, through the same warehouse."""
    warehouse = Warehouse(target)
    roles = target.client("redshift-serverless").list_namespaces()["namespaces"][0]["iamRoles"]
    role = next(name for name in roles if "copy" in name.lower())
    role = role.partition("iamRoleArn=")[2].rstrip(")") or role
    bucket = target.outputs["LakeBucket"]
    columns = "ticker_symbol VARCHAR(8), sector VARCHAR(16), change FLOAT, price FLOAT"
    warehouse.execute(f"CREATE TABLE models.bench_copy ({columns})")
    watch = Stopwatch()
    target.client("s3").put_object(Bucket=bucket, Key="rows/bench.csv", Body=data.read_bytes())
    warehouse.execute(
        f"COPY models.bench_copy FROM 's3://{bucket}/rows/bench.csv' IAM_ROLE '{role}' "
        "FORMAT CSV IGNOREHEADER 1"
    )
    taken = watch.seconds
    warehouse.execute("DROP TABLE models.bench_copy")
    return taken


def _record_sizes(target: Target) -> list[int]:
    kinesis = target.client("kinesis")
    name = target.outputs["StreamName"]
    sizes: list[int] = []
    for shard in kinesis.list_shards(StreamName=name)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            answer = kinesis.get_records(ShardIterator=iterator, Limit=1000)
            if not answer["Records"]:
                break
            sizes += [len(record["Data"]) for record in answer["Records"]]
            iterator = answer["NextShardIterator"]
    return sizes


def _predictions(target: Target) -> None:
    features = json.dumps(example_features(PROJECT / "samples" / f"{MODEL}.csv"))
    asker = predict.Asker(target)
    times = []
    for _ in range(CALLS):
        watch = Stopwatch()
        asker.ask(MODEL, features)
        times.append(watch.seconds * 1000)
    line(
        "one prediction through the API, warm, p50",
        f"{statistics.median(times):.1f} ms",
        "aim 25 ms",
    )


def _memory(target: Target) -> None:
    running = cloud.find(target.directory)
    assert running is not None  # noqa: S101  # it answered a moment ago
    deadline = time.monotonic() + 120
    used = _resident(running.pid)
    while used > 200e6 and time.monotonic() < deadline:
        time.sleep(5)
        used = _resident(running.pid)
    line("the idle local cloud and its children", f"{used / 1e6:.0f} MB", "aim 200 MB")


def _resident(pid: int) -> int:
    """The proportional share of memory, in bytes, of a process and all below it."""
    total = 0
    for text in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if text.startswith("Pss:"):
            total = int(text.split()[1]) * 1024
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            total += _resident(int(child))
    return total


if __name__ == "__main__":
    main()
