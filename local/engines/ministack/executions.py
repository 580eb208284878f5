"""The execution that a thread of Step Functions works for: its role, its end, its deadline."""

from __future__ import annotations

import contextvars
import time
from dataclasses import dataclass
from typing import Any

from local.services.base import Caller, Host, RoleSession, ServiceError


class StoppedError(Exception):
    """The execution ended while a task of it was under way: nothing more is to be done."""


@dataclass(frozen=True)
class Acting:
    """One execution at work, as one of its tasks sees it."""

    role_arn: str
    record: dict[str, Any]
    """MiniStack's record of the execution, whose status its API changes."""
    task_deadline: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the execution was stopped, timed out or failed."""
        return bool(self.record) and self.record["status"] != "RUNNING"

    def task_is_over(self) -> bool:
        """Whether the task's TimeoutSeconds have passed."""
        return self.task_deadline is not None and time.monotonic() > self.task_deadline

    def session(self, host: Host) -> RoleSession:
        """A session of the state machine's role; Step Functions' own error where there is none."""
        from ministack.services import stepfunctions

        try:
            return host.assume(self.role_arn, "states.amazonaws.com")
        except ServiceError as error:
            raise stepfunctions._ExecutionError("States.Runtime", error.message) from error

    def caller(self, host: Host) -> Caller:
        """The state machine's role as a caller."""
        session: Any = self.session(host)
        caller: Caller = session.caller
        return caller


current: contextvars.ContextVar[Acting | None] = contextvars.ContextVar("acting", default=None)


def acting() -> Acting:
    """The execution this thread works for. TestState has none: it may do nothing."""
    return current.get() or Acting("", {})
