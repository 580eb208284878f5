"""Keeps the cloud's state: by checkpoints while it works, and what must last at once."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import persistence, responses
from ministack.services import cloudformation, dynamodb, kinesis, s3, stepfunctions

from local.engines.ministack import interrupted
from local.engines.ministack.journal import Journal
from local.engines.ministack.settings import Settings
from local.handshake import UNRECOVERED

_log = logging.getLogger(__name__)
_PERIOD_SECONDS = 2.0
# A checkpoint may take this share of the time: big states are saved less often.
_SHARE = 0.1
_TRIES = 5
_IDLE_SECONDS = 30.0


class Persistence:
    """Checkpoints of MiniStack's services."""

    def __init__(self, settings: Settings) -> None:
        self._state = Path(persistence.STATE_DIR)
        self._journal = Journal(settings.directory / "journal")
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="tidemill-checkpoints")
        self._active = 0.0
        self._running = settings.directory / "running.json"
        self._unrecovered = settings.directory / UNRECOVERED

    def install(self) -> None:
        """Restore with events for executions that a kill ended, and journal DynamoDB."""
        self._journal.install()
        interrupted.install(self._save_stacks, self.checkpoint)
        load = app._load_persisted_state

        def restore() -> None:
            load()
            played = self._journal.play(self._state / "dynamodb.json")
            _log.info("played %s writes of DynamoDB's journal", played)

        app._load_persisted_state = restore
        # These are saved when nothing but another service has loaded them, too.
        for name, module in (("dynamodb", dynamodb), ("kinesis", kinesis), ("s3", s3)):
            app._loaded_modules.setdefault(name, module)

    def touch(self) -> None:
        """Something may have changed."""
        self._active = time.monotonic()

    def start(self) -> None:
        """Begin checkpoints, the first at once."""
        self._note_start()
        if interrupted.end_operations():
            self.checkpoint()
        announce_interrupted()
        self.checkpoint()
        self._thread.start()

    def stop(self) -> None:
        """End the checkpoints with a last one."""
        self._over.set()
        self._thread.join(timeout=30)
        self.checkpoint()
        self._running.unlink(missing_ok=True)

    def checkpoint(self) -> None:
        """Save every service's state."""
        with self._lock:
            began = time.time()
            for name, get_state in app._build_persistence_save_dict().items():
                self._save(name, get_state)
            self._journal.forget(self._state / "dynamodb.json")
            _write(self._running, {"checkpoint": began})

    def _note_start(self) -> None:
        """Say how the last process ended, for whoever drives again what was in flight then."""
        killed_after = _read(self._running).get("checkpoint")
        earlier = _read(self._unrecovered).get("killed_after")
        moments = [moment for moment in (killed_after, earlier) if moment is not None]
        _write(self._unrecovered, {"killed_after": min(moments, default=None)})

    def _save_stacks(self) -> None:
        with self._lock:
            self._save("cloudformation", cloudformation.get_state)

    def _save(self, name: str, get_state: Any) -> None:
        for attempt in range(_TRIES):
            try:
                state = get_state()
                break
            except RuntimeError:
                # A dict grew while it was copied: the event loop goes on meanwhile.
                if attempt == _TRIES - 1:
                    _log.exception("the state of %s was not saved", name)
                    return
                time.sleep(0.01 * 2**attempt)
        if state is not None:
            persistence.save_state(name, state)

    def _run(self) -> None:
        pause, saved = _PERIOD_SECONDS, time.monotonic()
        while not self._over.wait(pause):
            started = time.monotonic()
            # What goes on without requests (executions, polls) is over soon after the last one.
            if started - self._active > _IDLE_SECONDS and started - saved < _IDLE_SECONDS:
                continue
            try:
                self.checkpoint()
            except Exception:
                _log.exception("a checkpoint failed")
            saved = time.monotonic()
            pause = max(_PERIOD_SECONDS, (saved - started) / _SHARE)


def announce_interrupted() -> None:
    """Emit the events of executions that ended because the cloud did: rules wait for them."""
    for (account, region, _), execution in list(stepfunctions._executions._data.items()):
        if execution.get("error") == "States.ServiceRestart" and not execution.get("announced"):
            execution["announced"] = True
            with responses.request_scope(account, region):
                stepfunctions._emit_execution_status_event(execution)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return found


def _write(path: Path, document: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(document))
    partial.replace(path)
