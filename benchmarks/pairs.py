"""Measures two pieces of work in turn, so that a machine's changing speed cancels out."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass(frozen=True)
class Pair:
    """The median seconds of each, and the median of the ratios first / second."""

    first: float
    second: float
    ratio: float


def pair(
    first: Callable[[], object],
    second: Callable[[], object],
    rounds: int = 5,
    clock: Clock = time.perf_counter,
) -> Pair:
    """Run both `rounds` times in turn, after one round that does not count.

    For work that waits for nothing `time.process_time` leaves out what a neighbour takes.
    """
    times = [(seconds(first, clock), seconds(second, clock)) for _ in range(rounds + 1)]
    counted = times[1:]
    return Pair(
        statistics.median(a for a, _ in counted),
        statistics.median(b for _, b in counted),
        statistics.median(a / b for a, b in counted),
    )


def seconds(work: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """How long the work takes, in seconds."""
    start = clock()
    work()
    return clock() - start


def line(name: str, figure: str, aim: str = "") -> None:
    """Print one figure, with what we aim at."""
    print(f"{name:<58} {figure:<34} {aim}", flush=True)
