"""What MiniStack's Step Functions breaks and our loop relies on, mended."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from ministack.core import responses
from ministack.services import stepfunctions

from local.engines.ministack.executions import Acting, StoppedError, current


def install() -> None:
    """Mend timeouts, stops, retries and heartbeats."""
    _mend_ends()
    _mend_run()
    _mend_sleep()
    _mend_retry()
    _mend_task()
    _mend_heartbeat()


def _mend_ends() -> None:
    """An execution ends once: a failing task of a stopped one does not make it FAILED."""
    theirs = stepfunctions._fail_execution

    def fail(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            theirs(execution, error, cause)

    stepfunctions._fail_execution = fail


def _mend_run() -> None:
    """Each execution acts as its machine's role, and TimeoutSeconds end it as TIMED_OUT."""
    theirs = stepfunctions._run_execution

    def run(arn: str) -> None:
        execution = stepfunctions._executions.get(arn)
        machine = stepfunctions._state_machines.get((execution or {}).get("stateMachineArn", ""))
        if execution is None or machine is None:
            theirs(arn)
            return
        token = current.set(Acting(machine.get("roleArn", ""), execution))
        timer = _timer(execution, machine)
        try:
            theirs(arn)
        finally:
            current.reset(token)
            if timer is not None:
                timer.cancel()

    stepfunctions._run_execution = run


def _timer(execution: dict[str, Any], machine: dict[str, Any]) -> threading.Timer | None:
    try:
        seconds = json.loads(machine["definition"]).get("TimeoutSeconds")
    except ValueError:
        return None
    if seconds is None:
        return None
    account, region = responses.get_account_id(), responses.get_region()

    def end() -> None:
        if execution["status"] != "RUNNING":
            return
        with responses.request_scope(account, region):
            execution["status"] = "TIMED_OUT"
            execution["stopDate"] = responses.now_iso()
            stepfunctions._add_event(
                execution,
                "ExecutionTimedOut",
                {"executionTimedOutEventDetails": {"error": "States.Timeout"}},
            )
            stepfunctions._emit_execution_status_event(execution)

    timer = threading.Timer(float(seconds), end)
    timer.daemon = True
    timer.start()
    return timer


def _mend_sleep() -> None:
    """Waits and retries end with their execution."""

    def sleep(seconds: float) -> None:
        limit = time.monotonic() + seconds * stepfunctions._SFN_WAIT_SCALE
        acting = current.get()
        while (left := limit - time.monotonic()) > 0:
            if acting is not None and acting.ended:
                raise StoppedError
            time.sleep(min(left, 0.1))
        if acting is not None and acting.ended:
            raise StoppedError

    stepfunctions._scaled_sleep = sleep


def _mend_retry() -> None:
    """MaxDelaySeconds bounds the pause before a retry; nothing of an ended run is retried."""
    theirs = stepfunctions._find_matching_retrier

    def find(retriers: Any, error: str, counts: dict[int, int]) -> Any:
        acting = current.get()
        if acting is not None and acting.ended:
            raise StoppedError
        retrier, index = theirs(retriers, error, counts)
        if retrier is None or "MaxDelaySeconds" not in retrier:
            return retrier, index
        pause = retrier.get("IntervalSeconds", 1) * (
            retrier.get("BackoffRate", 2.0) ** counts.get(index, 0)
        )
        bounded = {"IntervalSeconds": min(pause, retrier["MaxDelaySeconds"]), "BackoffRate": 1.0}
        return {**retrier, **bounded}, index

    stepfunctions._find_matching_retrier = find


def _mend_task() -> None:
    """TimeoutSeconds and HeartbeatSeconds of a task may be JSONata or a path."""
    theirs = stepfunctions._execute_task
    with_timeout = stepfunctions._invoke_resource_with_timeout

    def execute(state: dict[str, Any], raw: Any, execution: Any, ctx: dict[str, Any]) -> Any:
        acting = current.get()
        if acting is not None and acting.ended:
            raise StoppedError
        return theirs(_settled(state, raw, ctx), raw, execution, ctx)

    def invoke(resource: str, data: Any, seconds: float) -> Any:
        acting = current.get()
        if acting is None:
            return with_timeout(resource, data, seconds)
        deadline = time.monotonic() + float(seconds)
        token = current.set(Acting(acting.role_arn, acting.record, deadline))
        try:
            return with_timeout(resource, data, seconds)
        finally:
            current.reset(token)

    stepfunctions._execute_task = execute
    stepfunctions._invoke_resource_with_timeout = invoke


def _settled(state: dict[str, Any], raw: Any, ctx: dict[str, Any]) -> dict[str, Any]:
    """The state with its times as numbers."""
    changed: dict[str, Any] = {}
    for name in ("TimeoutSeconds", "HeartbeatSeconds"):
        if isinstance(state.get(name), str):
            changed[name] = stepfunctions._apply_jsonata_template(state[name], raw, ctx)
        elif f"{name}Path" in state:
            changed[name] = stepfunctions._resolve_path_or_ctx(state[f"{name}Path"], raw, ctx)
    for name, value in changed.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise stepfunctions._ExecutionError(
                "States.Runtime", f"{name} must be a positive number, not {value!r}"
            )
    return {**state, **changed} if changed else state


def _mend_heartbeat() -> None:
    """A callback task without a heartbeat for HeartbeatSeconds fails; a stop ends the wait."""
    theirs = stepfunctions._invoke_with_callback

    def invoke(resource: str, data: Any, token: str, state: dict[str, Any]) -> Any:
        acting = current.get()
        over = threading.Event()
        account, region = responses.get_account_id(), responses.get_region()

        def watch() -> None:
            with responses.request_scope(account, region):
                _watch(token, state.get("HeartbeatSeconds"), acting, over)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            return theirs(resource, data, token, state)
        finally:
            over.set()

    stepfunctions._invoke_with_callback = invoke


def _watch(token: str, seconds: float | None, acting: Acting | None, over: threading.Event) -> None:
    seen, since = None, time.monotonic()
    while not over.wait(0.1):
        task = stepfunctions._task_tokens.get(token)
        if task is None:
            continue
        # Each beat leaves a new string, even within the clock's resolution.
        if task["heartbeat"] is not seen:
            seen, since = task["heartbeat"], time.monotonic()
        late = seconds is not None and time.monotonic() - since > seconds
        if late or (acting is not None and acting.ended):
            task["error"] = {
                "Error": "States.HeartbeatTimeout",
                "Cause": f"no heartbeat for {seconds} seconds",
            }
            task["event"].set()
            return
