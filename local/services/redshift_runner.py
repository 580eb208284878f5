"""Runs statements of the Data API in threads, each in a session of the warehouse."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from local.services.base import Document, Host, ServiceError
from local.services.redshift_serverless import REDSHIFT, RedshiftServerless
from local.services.redshift_statements import ENDED, KEPT_SECONDS, Part, Statement
from local.services.warehouse.errors import CancelledError, WarehouseError
from local.services.warehouse.session import Session


class Kept:
    """A session that outlives its statements (`SessionKeepAliveSeconds`)."""

    def __init__(self, session: Session, statement: Statement, seconds: int) -> None:
        self.session = session
        self.first = statement
        self.seconds = seconds
        self.busy = threading.Lock()
        self.expires = time.monotonic() + seconds


class Runner:
    """The statements that run, and the sessions that are kept for more of them."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.sessions: dict[str, Kept] = {}
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._query_ids = itertools.count(int(host.now()))

    @property
    def _serverless(self) -> RedshiftServerless:
        return cast(RedshiftServerless, self.host.service("redshift-serverless"))

    def start(self, statement: Statement) -> None:
        """Run a statement in the background."""
        thread = threading.Thread(
            target=self._run, args=(statement,), name=f"statement-{statement.id}", daemon=True
        )
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def stop(self, running: Sequence[Statement]) -> None:
        """Cancel what runs and wait for it; nothing of it is committed."""
        for statement in running:
            statement.cancel()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(5)
        for kept in list(self.sessions.values()):
            kept.session.close()
        self.sessions.clear()

    def _run(self, statement: Statement) -> None:
        """Carry out a statement; whatever happens, it ends in a state."""
        try:
            statement.status = "PICKED"
            self._carry_out(statement)
        except Exception as error:  # a fault of ours must not leave it running
            self._end(statement, "FAILED", f"ERROR: internal error: {error!r}")
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _carry_out(self, statement: Statement) -> None:
        kept = self.sessions.get(statement.session_id or "")
        try:
            session = kept.session if kept else self._open(statement)
        except WarehouseError as error:
            self._end(statement, "FAILED", str(error))
            return
        if kept is None and statement.session_id is not None:
            seconds = statement.request["SessionKeepAliveSeconds"]
            kept = self.sessions[statement.session_id] = Kept(session, statement, seconds)
        if kept is not None and not kept.busy.acquire(blocking=False):
            self._end(statement, "FAILED", "ERROR: Session is busy with another statement.")
            return
        try:
            status, text = self._work(statement, session)
        finally:
            statement.session = None
            if kept is None:
                session.close()
            else:
                kept.expires = time.monotonic() + kept.seconds
                kept.busy.release()
                self._expire_later(statement.session_id or "", kept.seconds)
        self._end(statement, status, text)

    def _open(self, statement: Statement) -> Session:
        database = self._serverless.database(statement.workgroup, statement.database)
        if database is None:
            raise WarehouseError(f'FATAL: database "{statement.database}" does not exist')
        workgroup = self._serverless.workgroup(statement.workgroup)
        namespace = self._serverless.namespace(workgroup["namespaceName"])
        admin = statement.user == namespace["adminUsername"] and statement.secret is not None
        return Session(database, statement.user, superuser=admin, storage=self._storage(namespace))

    def _storage(self, namespace: Document) -> Callable[[str | None], Any]:
        """S3 as a role of the namespace."""

        def client(role: str | None) -> Any:
            arn = role or namespace.get("defaultIamRoleArn")
            if not arn:
                raise WarehouseError("The namespace has no default IAM role")
            current = self._serverless.namespace(namespace["namespaceName"])
            if arn not in (*current["iamRoles"], current.get("defaultIamRoleArn")):
                raise WarehouseError(
                    f"Not authorized to get credentials of role {arn}:"
                    " it is not associated with the namespace"
                )
            try:
                return self.host.assume(arn, REDSHIFT).client("s3")
            except ServiceError as error:
                raise WarehouseError(
                    f"Not authorized to get credentials of role {arn}: {error.message}"
                ) from None

        return client

    def _work(self, statement: Statement, session: Session) -> tuple[str, str | None]:
        statement.session = session
        if statement.cancelled:
            session.cancel()
        transaction = statement.is_batch and (
            statement.request.get("ExecutionMode", "TRANSACTION") == "TRANSACTION"
        )
        statement.status = "STARTED"
        if transaction:
            session.begin()
        failed = None
        for number, part in enumerate(statement.parts, 1):
            error = self._work_part(statement, session, part)
            if error is not None:
                failed = failed or (part.status, error)
                if statement.is_batch and failed[1] == error:
                    failed = (part.status, f"Query #{number} failed with {error}")
                if transaction or part.status == "ABORTED":
                    for rest in statement.parts[number:]:
                        rest.status = "ABORTED"
                    break
        if transaction and failed is None:
            try:
                session.commit()
            except WarehouseError as error:
                failed = ("FAILED", str(error))
        elif transaction:
            session.rollback()
        return failed or ("FINISHED", None)

    def _work_part(self, statement: Statement, session: Session, part: Part) -> str | None:
        part.status = "STARTED"
        part.query_id = session.query_id = next(self._query_ids)
        part.started = self.host.now()
        begun = time.perf_counter()
        try:
            used = {k: v for k, v in statement.parameters.items() if f":{k}" in part.sql}
            part.outcome = session.execute(part.sql, used)
            part.status = "FINISHED"
        except CancelledError as error:
            part.status, part.error = "ABORTED", str(error)
        except WarehouseError as error:
            part.status, part.error = "FAILED", str(error)
        part.seconds = time.perf_counter() - begun
        part.updated = self.host.now()
        return part.error

    def _end(self, statement: Statement, status: str, error: str | None) -> None:
        statement.error = error
        statement.updated = self.host.now()
        for part in statement.parts:
            if part.status not in ENDED:
                part.status = status if not statement.is_batch else "ABORTED"
                part.error = error
        statement.status = status
        statement.ended.set()
        if statement.request.get("WithEvent"):
            self.host.put_event(
                "aws.redshift-data",
                "Redshift Data Statement Status Change",
                {
                    "principal": statement.principal,
                    "statementName": statement.name,
                    "statementId": statement.id,
                    "redshiftQueryId": statement.parts[-1].query_id,
                    "state": status,
                    "rows": statement.parts[-1].describe()["ResultRows"],
                    "expireAt": int(statement.created + KEPT_SECONDS),
                },
                [self._serverless.workgroup(statement.workgroup)["workgroupArn"]],
            )

    def _expire_later(self, identifier: str, seconds: float) -> None:
        def expire() -> None:
            kept = self.sessions.get(identifier)
            if kept is None or not kept.busy.acquire(blocking=False):
                return  # the statement that it is busy with asks again
            try:
                if kept.expires <= time.monotonic() and identifier in self.sessions:
                    del self.sessions[identifier]
                    kept.session.close()
            finally:
                kept.busy.release()

        timer = threading.Timer(seconds + 0.01, expire)
        timer.daemon = True
        timer.start()
