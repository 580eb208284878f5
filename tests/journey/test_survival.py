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

ROWS = 60_000


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Journey]:
    """A cloud that this test may kill."""
    models = tmp_path / "models"
    models.mkdir()
    shutil.copy(PROJECT / "models" / "stock_price.toml", models)
    made = Journey(tmp_path / "state", models)
    made.json("up")
    yield made
    made.run("down", "--wipe")


def kill(journey: Journey) -> None:
    running = cloud.find(journey.state)
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
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


@pytest.mark.slow
def test_down_leaves_no_process_and_up_continues(own: Journey, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    write_stock_price(file, 5_000)
    own.json("stream", "stock_price", str(file))
    assert own.json("refresh", "stock_price")["version"] == 1
    running = cloud.find(own.state)
    assert running is not None
    processes = below(running.pid)
    own.json("down")
    assert alive(processes) == []
    own.json("up")
    assert own.json("status")["models"]["stock_price"]["rows"] == 5_000
    header, row = file.read_text().splitlines()[:2]
    fields = dict(zip(header.split(","), row.split(","), strict=True))
    features = (
        f'{{"ticker_symbol": "{fields["ticker_symbol"]}", "sector": "{fields["sector"]}", '
        f'"change": {fields["change"]}}}'
    )
    assert own.json("predict", "stock_price", features)["version"] == 1
    own.json("down", "--wipe")
    assert not own.state.exists()


@pytest.mark.slow
def test_killed_in_the_middle_of_a_stream_and_of_a_run_it_recovers(
    own: Journey, tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    write_stock_price(file, ROWS)
    target = own.target
    bucket = target.outputs["InputBucket"]
    key = "stream-input-data/stock_price/rows.csv"
    put = target.client("s3").put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
    time.sleep(0.4)
    kill(own)
    own.json("up")
    warehouse = Warehouse(own.target)
    source = source_id(bucket, key, put["VersionId"])
    limit = time.monotonic() + 90
    while warehouse.count("stock_price", source) < ROWS and time.monotonic() < limit:
        time.sleep(0.5)
    time.sleep(2)
    assert warehouse.count("stock_price", source) == ROWS

    places = ["--state", str(own.state), "--models-dir", str(own.models)]
    words = [sys.executable, "-m", "scripts.tidemill", "refresh", "stock_price", *places]
    run = subprocess.Popen(words, cwd=PROJECT, stderr=subprocess.DEVNULL)
    time.sleep(4)
    kill(own)
    run.wait(60)
    own.json("up")
    assert own.json("refresh", "stock_price")["decision"] == "released"
