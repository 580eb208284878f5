"""A file of 1.5 million rows, quoted newlines among them, through the deployed stacks."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import pytest

from local import cloud as local_cloud
from scripts.commands.warehouse import Warehouse
from scripts.generate_data import stock_price

from .conftest import Journey

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL, BIG = 153_580, 1_500_000
QUOTED = '"A\nB",TELECOM,1.5,80\n'
EVERY = 50
"""One row in so many has a line feed in quotes."""


class Memory:
    """The peak memory of the workers of one function, below a cloud's process."""

    def __init__(self, cloud: int, function: str) -> None:
        self._cloud = cloud
        self._function = function.encode()
        self.peak = 0

    def look(self) -> None:
        for process in descendants(self._cloud):
            try:
                variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
                status = Path(f"/proc/{process}/status").read_text()
            except OSError:
                continue  # It ended meanwhile.
            names = [v for v in variables if v.startswith(b"AWS_LAMBDA_FUNCTION_NAME=")]
            mark = re.search(r"VmHWM:\s+([0-9]+) kB", status)
            if mark and names and self._function in names[0]:
                self.peak = max(self.peak, int(mark[1]) * 1024)


def descendants(process: int) -> list[int]:
    """All processes below one."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(folder.name))
    found = [process]
    for one in found:
        found += children.get(one, [])
    return found[1:]


@contextmanager
def watched(journey: Journey) -> Iterator[Memory]:
    """Watch new workers of stream_csv; those of before end first."""
    cloud = local_cloud.find(journey.state)
    assert cloud is not None
    cloud.reap()
    memory = Memory(cloud.pid, "-streamcsv")
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            memory.look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        ended.set()
        thread.join()
        memory.look()


def write(file: Path, rows: int) -> None:
    header, *lines = stock_price(1000)
    lines[::EVERY] = [QUOTED] * len(lines[::EVERY])
    with file.open("w", newline="") as out:
        out.write(header)
        out.writelines(islice(cycle(lines), rows))


def test_a_file_of_ten_times_the_rows_needs_no_more_memory(
    journey: Journey, tmp_path: Path
) -> None:
    warehouse = Warehouse(journey.target)
    peaks = {}
    for rows in (SMALL, BIG):
        file = tmp_path / f"{rows}.csv"
        write(file, rows)
        with watched(journey) as memory:
            result = journey.json("stream", "stock_price", str(file))
        peaks[rows] = memory.peak
        print(f"{rows:,} rows: {result['seconds']} s, {memory.peak / 1e6:.0f} MB in stream_csv")
        assert (result["sent"], result["loaded"], result["rejected"]) == (rows, rows, 0)
        ((distinct, quoted),) = warehouse.rows(
            "SELECT COUNT(DISTINCT row_id), SUM(CASE WHEN ticker_symbol = :text THEN 1 ELSE 0 END)"
            " FROM models.stock_price WHERE source_id = :source",
            text="A\nB",
            source=result["source_id"],
        )
        assert int(distinct) == rows
        assert int(quoted) == -(-rows // EVERY)
    assert peaks[SMALL] > 20e6
    assert max(peaks.values()) <= 128e6
    assert peaks[BIG] <= 1.1 * peaks[SMALL]
