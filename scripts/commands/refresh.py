"""`refresh`: start a run by hand and follow its states to the gate's decision."""

from __future__ import annotations

import getpass
import json
from typing import Any

from scripts.commands.console import CommandError, Console, Stopwatch, backoff
from scripts.commands.target import LOCAL, Target


def refresh(target: Target, console: Console, model: str) -> dict[str, Any]:
    """Run the refresh state machine for `model`.

    Returns the execution's output with `seconds` and the seconds of each state. Raises
    `CommandError` where the run fails.
    """
    target.require_model(model)
    states = target.client("stepfunctions")
    machine = target.outputs["StateMachineArn"]
    watch = Stopwatch()
    execution = states.start_execution(
        stateMachineArn=machine,
        input=json.dumps({"model": model, "reason": "manual", "actor": getpass.getuser()}),
    )["executionArn"]
    follower = _Follower(states, execution, console)
    for _ in backoff(0.2, 0.5 if target.name == LOCAL else 5.0, factor=1.2):
        follower.look()
        described = states.describe_execution(executionArn=execution)
        if described["status"] != "RUNNING":
            break
    follower.look()
    if described["status"] != "SUCCEEDED":
        cause = described.get("cause") or described.get("error") or "no cause is given"
        raise CommandError(
            f"the run {described['status'].lower().replace('_', ' ')}: {_short(cause)}",
            f"its story: {target.command('logs refresh')}",
        )
    output: dict[str, Any] = json.loads(described["output"])
    output["execution"] = execution
    output["seconds"] = round(watch.seconds, 2)
    output["states"] = follower.durations
    return output


def show(console: Console, output: dict[str, Any]) -> None:
    """Print a run's decision and the gate's reasons."""
    lines = [
        f"{output['decision']}: {output['model']} version {output['version']}  "
        f"in {output['seconds']:.1f} s"
    ]
    lines += [
        f"  {'pass' if reason['passed'] else 'FAIL'}  {reason['text']}"
        for reason in output["reasons"]
    ]
    console.result(output, lines)


class _Follower:
    """Reads an execution's history page by page and tells each state as it is entered."""

    def __init__(self, states: Any, execution: str, console: Console) -> None:
        self._states = states
        self._execution = execution
        self._console = console
        self._seen = 0
        self._began: Any = None
        self.durations: dict[str, float] = {}

    def look(self) -> None:
        pages = self._states.get_paginator("get_execution_history").paginate(
            executionArn=self._execution, PaginationConfig={"PageSize": 1000}
        )
        events = [event for page in pages for event in page["events"]]
        for event in events[self._seen :]:
            self._tell(event)
        self._seen = len(events)

    def _tell(self, event: dict[str, Any]) -> None:
        entered = event.get("stateEnteredEventDetails", {}).get("name")
        if self._began is None:
            self._began = event["timestamp"]
        at = (event["timestamp"] - self._began).total_seconds()
        if entered:
            # A loop (wait, ask again) enters its states many times; it is told once.
            if entered not in self.durations:
                self._console.say(f"  {at:6.1f} s  {entered}")
            self.durations.setdefault(entered, 0.0)
            self._entered_at = at
        elif "stateExitedEventDetails" in event:
            name = event["stateExitedEventDetails"]["name"]
            spent = self.durations.get(name, 0.0) + at - self._entered_at
            self.durations[name] = round(spent, 3)


def _short(cause: str) -> str:
    """The telling part of a cause, which may be a whole Describe response as JSON."""
    try:
        document = json.loads(cause)
    except ValueError:
        return cause
    for key in ("FailureReason", "ExitMessage", "errorMessage", "message"):
        if isinstance(document, dict) and document.get(key):
            return str(document[key])
    return cause
