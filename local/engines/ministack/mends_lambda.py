"""What MiniStack's Lambda makes slow or leaves behind, mended."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc
from ministack.services.cloudformation import custom_resource

_log = logging.getLogger(__name__)
_MARKER = "\x1etidemill-end-of-call"
_DRAIN_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1
_CUSTOM_RESOURCE_SECONDS = 900
_POLL_SECONDS = 0.1
_REAP_SECONDS = float(os.environ.get("TIDEMILL_WORKER_SECONDS", "60"))

Mapping = tuple[str, str, dict[str, Any]]


def install() -> None:
    """Mend the wait after a call, orphans, the one poller and endless custom resources."""
    _mend_drain()
    _mend_orphans()
    _mend_pollers()
    _bound_custom_resources()
    _reap()


def _mend_drain() -> None:
    """A worker marks the end of a call's log, so that nobody waits 50 ms for lines to come."""
    reply = "        _real_stdout.flush()\n\nrun()"
    mark = (
        f"        sys.stderr.write({_MARKER!r} + chr(10))\n        sys.stderr.flush()\n"
        "        _real_stdout.flush()\n\nrun()"
    )
    script = lambda_runtime._PYTHON_WORKER_SCRIPT
    if script.count(reply) != 1:
        raise RuntimeError("MiniStack's worker script has changed: see seams.py")
    lambda_runtime._PYTHON_WORKER_SCRIPT = script.replace(reply, mark)
    bounded = lambda_runtime.Worker._drain_stderr_bounded

    def drain(worker: Any, **waits: float) -> str:
        if not str(worker.config.get("Runtime", "")).startswith("python"):
            return str(bounded(worker, **waits))
        lines: list[str] = []
        limit = time.monotonic() + _DRAIN_SECONDS
        while (left := limit - time.monotonic()) > 0:
            try:
                # A worker that died says nothing more than what is here already.
                line = worker._stderr_queue.get(timeout=left if worker._proc else 0.02)
            except queue.Empty:
                break
            if line.endswith(_MARKER):
                if len(line) > len(_MARKER):
                    lines.append(line.removesuffix(_MARKER))  # a last line without its newline
                break
            lines.append(line)
        return "\n".join(lines)

    lambda_runtime.Worker._drain_stderr_bounded = drain


def _mend_orphans() -> None:
    """Workers end with the cloud, even when it is killed."""
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None, use_errno=True)

    def end_with_parent() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    # The signal comes when the *thread* that forked ends, so one thread that stays forks for all.
    requests: queue.SimpleQueue[tuple[tuple[Any, ...], dict[str, Any], queue.SimpleQueue[Any]]]
    requests = queue.SimpleQueue()

    def fork() -> None:
        while True:
            arguments, options, answer = requests.get()
            try:
                start: Any = subprocess.Popen  # its overloads know no **options
                answer.put(start(*arguments, preexec_fn=end_with_parent, **options))
            except Exception as error:
                answer.put(error)

    threading.Thread(target=fork, daemon=True, name="tidemill-fork").start()

    class Subprocess:
        """The subprocess module as the worker's runtime sees it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(subprocess, name)

        def Popen(self, *arguments: Any, **options: Any) -> Any:  # noqa: N802 - the module's name
            answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
            requests.put((arguments, options, answer))
            found = answer.get()
            if isinstance(found, Exception):
                raise found
            return found

    lambda_runtime.subprocess = Subprocess()


def _mend_pollers() -> None:
    """Each stream's mapping has a poller of its own: a slow function delays nobody else.

    Mappings of queues share one, which only receives: their batches run in threads already.
    """
    pollers = _Pollers()
    lambda_svc._iter_all_esms = pollers.visible
    lambda_svc._poll_loop = pollers.run


class _Pollers:
    def __init__(self) -> None:
        self._every = lambda_svc._iter_all_esms
        self._mine = threading.local()
        self._polled: set[str] = set()
        self._kinds = {
            "kinesis": lambda_svc._poll_kinesis,
            "dynamodb": lambda_svc._poll_dynamodb_streams,
        }

    def visible(self) -> Iterator[Mapping]:
        """The mappings that the calling thread is to poll."""
        wanted = getattr(self._mine, "uuid", None)
        for mapping in self._every():
            if wanted is None or mapping[2]["UUID"] == wanted:
                yield mapping

    def run(self) -> None:
        """Poll queues, and begin a thread for each stream's mapping."""
        while True:
            lambda_svc._esm_wake.clear()
            self._follow_new()
            if not self._once(lambda_svc._poll_sqs):
                time.sleep(0.02)
                lambda_svc._esm_wake.wait(1)

    def _follow_new(self) -> None:
        for _, _, mapping in self._every():
            uuid = mapping["UUID"]
            poll = self._kinds.get("".join(mapping.get("EventSourceArn", "").split(":")[2:3]))
            if poll is not None and uuid not in self._polled:
                self._polled.add(uuid)
                threading.Thread(target=self._follow, args=(uuid, poll), daemon=True).start()

    def _follow(self, uuid: str, poll: Callable[[], bool]) -> None:
        self._mine.uuid = uuid
        while any(mapping["UUID"] == uuid for _, _, mapping in self._every()):
            if not self._once(poll):
                time.sleep(_POLL_SECONDS)
        self._polled.discard(uuid)

    def _once(self, poll: Callable[[], bool]) -> bool:
        try:
            return poll()
        except Exception:
            _log.exception("polling event sources")
            return False


def _bound_custom_resources() -> None:
    """A custom resource fails when its function does, and at the latest after 15 minutes."""
    theirs = custom_resource.invoke_custom_resource
    execute = lambda_svc._execute_function_with_config_scope
    waiting = threading.local()

    def invoke(request: str, logical_id: str, properties: Any, *more: Any, **named: Any) -> Any:
        waiting.active = True
        try:
            bound = {"ServiceTimeout": _CUSTOM_RESOURCE_SECONDS, **(properties or {})}
            return theirs(request, logical_id, bound, *more, **named)
        finally:
            waiting.active = False

    def run(record: Any, event: Any, *more: Any, **named: Any) -> Any:
        mine = getattr(waiting, "active", False)
        waiting.active = False
        result = execute(record, event, *more, **named)
        if mine and result.get("error"):
            reason = json.dumps(result.get("body"), default=str)
            answer = {"Status": "FAILED", "Reason": f"the function failed: {reason}"}
            custom_resource.deliver_response(event["ResponseURL"].rpartition("/")[2], answer)
        return result

    custom_resource.invoke_custom_resource = invoke
    lambda_svc._execute_function_with_config_scope = run


def _reap() -> None:
    """Workers that were idle for a while end; MiniStack keeps one of each function for ever."""

    def loop() -> None:
        while True:
            time.sleep(_REAP_SECONDS / 4)
            reap(_REAP_SECONDS)

    threading.Thread(target=loop, daemon=True, name="tidemill-reaper").start()


def reap(seconds: float) -> int:
    """End the workers that have been idle for longer; how many these were."""
    limit = time.time() - seconds
    with lambda_runtime._lock:
        idle = [
            (key, worker)
            for key, workers in lambda_runtime._workers.items()
            for worker in workers
            if not worker.in_use and worker.last_used < limit
        ]
        for key, worker in idle:
            lambda_runtime._workers[key].remove(worker)
    lambda_runtime.kill_workers([worker for _, worker in idle])
    _give_back()
    return len(idle)


def _give_back() -> None:
    """Return freed memory to the system, which the C library keeps in its arenas otherwise."""
    gc.collect()
    if sys.platform.startswith("linux"):
        with contextlib.suppress(AttributeError):  # a C library without it
            ctypes.CDLL(None).malloc_trim(0)
