"""`down` keeps everything, `down --wipe` nothing, and a killed cloud recovers by itself."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import cloud
from scripts.commands.warehouse import Warehouse
from scripts.generate_data import write_stock_price
from tidemill.row_ids import source_id

from .conftest import PROJECT, Journey

ROWS = 40_000


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """A cloud that these tests may kill."""
    models = tmp_path_factory.mktemp("models")
    shutil.copy(PROJECT / "models" / "stock_price.toml", models)
    made = Journey(tmp_path_factory.mktemp("own") / "state", models)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TIDEMILL_CACHE", str(made.state.parent / "cache"))
        try:
            made.json("up")
            yield made
        finally:
            made.run("down", "--wipe")


def _cloud(journey: Journey) -> cloud.Cloud:
    running = cloud.find(journey.state)
    assert running is not None
    return running


def kill(journey: Journey) -> None:
    os.kill(_cloud(journey).pid, signal.SIGKILL)
    limit = time.monotonic() + 20
    while cloud.find(journey.state) is not None and time.monotonic() < limit:
        time.sleep(0.05)


def below(pid: int) -> list[int]:
    """The process and every one below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += below(int(child))
    return found


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def upload(journey: Journey, file: Path) -> str:
    """Put a file as `stream` does, without waiting; the id of its source."""
    bucket = journey.target.outputs["InputBucket"]
    key = f"stream-input-data/stock_price/{file.name}"
    put = journey.target.client("s3").put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
    return source_id(bucket, key, put["VersionId"])


def counts(journey: Journey) -> dict[str, tuple[int, int]]:
    """By source: how many rows the warehouse has, and how many ids they have."""
    rows = Warehouse(journey.target).rows(
        "SELECT source_id, COUNT(*), COUNT(DISTINCT row_id) FROM models.stock_price GROUP BY 1"
    )
    return {source: (int(rows), int(ids)) for source, rows, ids in rows}


def settle(journey: Journey, sources: list[str]) -> dict[str, tuple[int, int]]:
    """The counts, once every source has its rows, and a while after that."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        found = counts(journey)
        if all(found.get(source, (0, 0))[0] >= ROWS for source in sources):
            break
        time.sleep(0.5)
    time.sleep(2)  # what comes twice would come now
    return counts(journey)


def features(file: Path) -> str:
    """The first row's features as `predict` takes them."""
    header, row = file.read_text().splitlines()[:2]
    fields = dict(zip(header.split(","), row.split(","), strict=True))
    return (
        f'{{"ticker_symbol": "{fields["ticker_symbol"]}", "sector": "{fields["sector"]}", '
        f'"change": {fields["change"]}}}'
    )


def ended(pids: list[int]) -> bool:
    limit = time.monotonic() + 10
    while alive(pids) and time.monotonic() < limit:
        time.sleep(0.1)
    return not alive(pids)


@pytest.mark.slow
def test_killed_in_the_middle_of_a_stream_each_row_is_counted_once(
    own: Journey, tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    write_stock_price(file, ROWS)
    sources: list[str] = []
    for seconds in (0.1, 0.4, 1.0, 2.0, 3.0):
        sources.append(upload(own, file))
        time.sleep(seconds)
        kill(own)
        own.json("up")
        found = settle(own, sources)
        assert found == dict.fromkeys(sources, (ROWS, ROWS)), f"killed after {seconds} s"
    assert own.json("status")["models"]["stock_price"]["rows"] == ROWS * len(sources)


@pytest.mark.slow
def test_killed_in_the_middle_of_a_run_the_next_one_succeeds(own: Journey) -> None:
    places = ["--state", str(own.state), "--models-dir", str(own.models)]
    words = [sys.executable, "-m", "scripts.tidemill", "refresh", "stock_price", *places]
    for seconds in (2.5, 7.0):
        run = subprocess.Popen(words, cwd=PROJECT, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        processes = below(_cloud(own).pid)
        kill(own)
        run.wait(60)
        assert ended(processes), "what the killed cloud started goes on"
        own.json("up")
    assert own.json("refresh", "stock_price")["decision"] == "released"


@pytest.mark.slow
def test_up_builds_the_image_again_whose_content_is_gone(own: Journey, tmp_path: Path) -> None:
    file = tmp_path / "one.csv"
    write_stock_price(file, 10)
    own.json("down")
    shutil.rmtree(own.state.parent / "cache")
    own.json("up")
    assert own.json("predict", "stock_price", features(file))["version"] == 1
    assert own.json("refresh", "stock_price")["version"] == 2


@pytest.mark.slow
def test_down_leaves_no_process_and_up_continues(own: Journey, tmp_path: Path) -> None:
    file = tmp_path / "more.csv"
    write_stock_price(file, 500)
    before = own.json("stream", "stock_price", str(file))["in_warehouse"]
    version = own.json("predict", "stock_price", features(file))["version"]
    processes = below(_cloud(own).pid)
    own.json("down")
    assert ended(processes)
    assert not (own.state / "tmp").exists()
    own.json("up")
    assert own.json("status")["models"]["stock_price"]["rows"] == before
    assert own.json("predict", "stock_price", features(file))["version"] == version
    processes = below(_cloud(own).pid)
    own.json("down", "--wipe")
    assert ended(processes)
    assert not own.state.exists()
