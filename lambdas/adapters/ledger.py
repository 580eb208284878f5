"""The ledger's table: what is written together, and on which condition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from lambdas.adapters.table import Change, ConditionFailedError, Item, Table
from tidemill.errors import TidemillError
from tidemill.ledger import (
    CHAMPION,
    COUNTER,
    LOCK,
    Champion,
    EventKind,
    Lock,
    RunState,
    VersionState,
    event,
    partition,
    run_key,
    timestamp,
    version_key,
)
from tidemill.run import Request, RunInProgressError

_NEW = "attribute_not_exists(pk)"
_ATTEMPTS = 5


class LedgerError(TidemillError):
    """The ledger is not in the state that a change of it needs."""


class LostLockError(LedgerError):
    """The run no longer holds its model's lock."""


class Ledger:
    """The ledger of all models, in the DynamoDB table `table`. Each change may be made again."""

    def __init__(self, table: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._table = Table(table)
        self._now = now

    def champion(self, model: str) -> Champion | None:
        """Return the version in service, or None before the first."""
        item = self._get(model, CHAMPION)
        return _champion(item) if item else None

    def lock(self, model: str) -> Lock | None:
        """Return who holds the model's lock, or None."""
        item = self._get(model, LOCK)
        return Lock(item["execution_arn"], item["run_id"], item["taken_at"]) if item else None

    def run(self, model: str, run_id: str) -> Item:
        """Return a run's attributes (`state`, `execution_arn`, …); none where it never opened."""
        return self._get(model, run_key(run_id)) or {}

    def open_run(self, request: Request, run_id: str, execution_arn: str) -> None:
        """Take the model's lock and record the run, both or neither.

        Raises RunInProgressError where another run holds the lock.
        """
        pk = partition(request.model)
        now = timestamp(self._now())
        lock = {"sk": LOCK, "execution_arn": execution_arn, "run_id": run_id, "taken_at": now}
        started = {
            "state": str(RunState.RUNNING),
            "run_id": run_id,
            "execution_arn": execution_arn,
            "started_at": now,
            "reason": request.reason,
            "actor": request.actor,
        }
        mine = {":me": execution_arn}
        try:
            self._table.transact(
                self._table.put(pk, lock, f"{_NEW} OR execution_arn = :me", mine),
                self._table.set(pk, run_key(run_id), started, keep=True),
            )
        except ConditionFailedError:
            held = self.lock(request.model)
            holder = f"run {held.run_id} since {held.taken_at}" if held else "a run that just ended"
            raise RunInProgressError(
                f"{request.model} is locked by {holder}: wait for it, or stop its execution"
            ) from None

    def allot_version(self, model: str, run_id: str) -> int:
        """Return the run's version number; its first call takes the next, without a gap.

        Raises LedgerError where the run was never opened.
        """
        pk, table = partition(model), self._table
        for _ in range(_ATTEMPTS):
            run = self.run(model, run_id)
            if not run:
                raise LedgerError(f"run {run_id} of {model} was never opened")
            if "version" in run:
                return int(run["version"])
            counter = self._get(model, COUNTER)
            last = int(counter["last"]) if counter else None
            number = (last or 0) + 1
            taken = {"version": number}
            try:
                table.transact(
                    table.add(pk, COUNTER, "last", 1, seen=last),
                    table.set(pk, run_key(run_id), taken, "attribute_not_exists(#version)"),
                )
            except ConditionFailedError:
                continue  # somebody else counted, or an earlier attempt of this run did
            return number
        raise LedgerError(f"run {run_id} got no version number: others of {model} were faster")

    def record_version(
        self, model: str, number: int, state: VersionState, details: Mapping[str, Any]
    ) -> None:
        """Record what the gate decided of a version; `details` holds at least `run_id`.

        Raises LedgerError where the number is another run's.
        """
        pk, table, run_id = partition(model), self._table, details["run_id"]
        now = timestamp(self._now())
        registered = state == VersionState.REGISTERED
        kind = EventKind.REGISTERED if registered else EventKind.REJECTED
        item = {"sk": version_key(number), "version": number, "state": str(state)}
        try:
            table.transact(
                table.put(pk, {**item, "created_at": now, **details}, _NEW),
                table.put(pk, event(kind, at=now, run_id=run_id, version=number)),
            )
        except ConditionFailedError:
            found = self._get(model, version_key(number))
            if found is None or found["run_id"] != run_id:
                raise LedgerError(f"version {number} of {model} is another run's") from None

    def promote(
        self, model: str, challenger: Champion, former: Champion | None, execution_arn: str
    ) -> None:
        """Make `challenger` the champion in place of `former`, all at once.

        Raises LostLockError where the execution does not hold the lock, LedgerError where the
        champion is not `former` or the challenger no registered version.
        """
        pk, table = partition(model), self._table
        now = timestamp(self._now())
        pointer: Item = {"sk": CHAMPION, **asdict(challenger), "since": now}
        changes = [
            table.check(pk, LOCK, "execution_arn = :me", {":me": execution_arn}),
            self._move(model, challenger.version, VersionState.REGISTERED, VersionState.CHAMPION),
            table.put(
                pk,
                event(
                    EventKind.PROMOTED,
                    at=now,
                    run_id=challenger.run_id,
                    version=challenger.version,
                ),
            ),
        ]
        if former is None:
            changes.append(table.put(pk, pointer, _NEW))
        else:
            pointer["previous"] = asdict(former)
            values = {":former": former.version}
            changes.append(table.put(pk, pointer, "version = :former", values))
            changes.append(
                self._move(model, former.version, VersionState.CHAMPION, VersionState.RETIRED)
            )
        try:
            table.transact(*changes)
        except ConditionFailedError as error:
            if self.champion(model) == challenger:
                return
            held = self.lock(model)
            if held is None or held.execution_arn != execution_arn:
                raise LostLockError(f"run {challenger.run_id} lost the lock of {model}") from error
            raise LedgerError(
                f"version {challenger.version} of {model} cannot follow "
                f"{former.version if former else 'nothing'}: {error}"
            ) from error

    def close(
        self, model: str, run_id: str, execution_arn: str, state: RunState, error: str = ""
    ) -> bool:
        """Record how a run ended and release its lock, if it holds it.

        Returns whether this call did; false where the run had ended before. A failed run's
        version is marked so; if it was promoted all the same, the champion before it is put back.
        """
        for _ in range(_ATTEMPTS):
            try:
                self._table.transact(*self._ending(model, run_id, execution_arn, state, error))
            except ConditionFailedError:
                if self.run(model, run_id).get("state") in (None, RunState.RUNNING):
                    continue  # the lock or the champion moved meanwhile: look again
                if release := self._release(model, execution_arn):
                    self._table.transact(*release)
                return False
            return True
        raise LedgerError(f"run {run_id} of {model} could not be closed: others change it too")

    def state_of_ended(self, model: str, run_id: str) -> RunState:
        """Return how far a run had come whose execution ended without closing it."""
        champion = self.champion(model)
        if champion and champion.run_id == run_id:
            return RunState.RELEASED
        number = self.run(model, run_id).get("version")
        version = self._get(model, version_key(int(number))) if number is not None else None
        rejected = version is not None and version["state"] == VersionState.REJECTED
        return RunState.REJECTED if rejected else RunState.FAILED

    def _ending(
        self, model: str, run_id: str, execution_arn: str, state: RunState, error: str
    ) -> list[Change]:
        pk, table = partition(model), self._table
        now = timestamp(self._now())
        ended = {"state": str(state), "execution_arn": execution_arn, "ended_at": now}
        if error:
            ended["error"] = error[:4000]
        changes = [
            table.set(
                pk,
                run_key(run_id),
                ended,
                "attribute_not_exists(#state) OR #state = :running",
                {":running": str(RunState.RUNNING)},
            ),
            *self._release(model, execution_arn),
        ]
        if state == RunState.FAILED:
            number = self.run(model, run_id).get("version")
            version = None if number is None else int(number)
            told = event(EventKind.RUN_FAILED, at=now, run_id=run_id, version=version, text=error)
            changes += [table.put(pk, told), *self._fail_version(model, version)]
        return changes

    def _fail_version(self, model: str, number: int | None) -> list[Change]:
        version = None if number is None else self._get(model, version_key(number))
        if number is None or version is None or version["state"] == VersionState.REJECTED:
            return []
        pk, table = partition(model), self._table
        changes = [self._move(model, number, VersionState(version["state"]), VersionState.FAILED)]
        pointer = self._get(model, CHAMPION)
        if pointer is None or int(pointer["version"]) != number:
            return changes
        condition, values = "version = :number", {":number": number}
        previous = pointer.get("previous")
        if previous is None:
            return [*changes, table.delete(pk, CHAMPION, condition, values)]
        back = {"sk": CHAMPION, **previous, "since": timestamp(self._now())}
        former = int(previous["version"])
        return [
            *changes,
            table.put(pk, back, condition, values),
            self._move(model, former, VersionState.RETIRED, VersionState.CHAMPION),
        ]

    def _release(self, model: str, execution_arn: str) -> list[Change]:
        held = self.lock(model)
        if held is None or held.execution_arn != execution_arn:
            return []
        mine = {":me": execution_arn}
        return [self._table.delete(partition(model), LOCK, "execution_arn = :me", mine)]

    def _get(self, model: str, sort: str) -> Item | None:
        return self._table.get(partition(model), sort)

    def _move(self, model: str, number: int, before: VersionState, after: VersionState) -> Change:
        return self._table.set(
            partition(model),
            version_key(number),
            {"state": str(after)},
            "#state = :before",
            {":before": str(before)},
        )


def _champion(item: Mapping[str, Any]) -> Champion:
    return Champion(
        int(item["version"]), item["run_id"], item["artefact_uri"], item["endpoint_config"]
    )
