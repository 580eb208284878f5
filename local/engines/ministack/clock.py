"""The cloud's clock: the machine's, moved forward by what tests asked for."""

from __future__ import annotations

import threading
import time
from types import ModuleType
from typing import Any

from ministack.services import eventbridge, sqs


class Clock:
    """Seconds since the epoch; `advance` moves rules and queues with it, never signatures."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since the epoch by this clock."""
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Move the clock forward and let the rules that are due tick."""
        if seconds < 0:
            raise ValueError("the clock only goes forward")
        with self._lock:
            self._offset += seconds
        eventbridge._tick_scheduled_rules()

    def install(self) -> None:
        """Give this clock to the parts of MiniStack that wait for a time to come."""
        shim: Any = ModuleType("time")
        shim.__dict__.update(time.__dict__)
        shim.time = self.now
        sqs.time = shim
        eventbridge._now_ts = self.now
