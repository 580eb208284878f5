"""The Redshift Data API: statements run in the background and are asked for afterwards."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import cast
from uuid import uuid4

from local.services.base import Caller, Document, Host, Service, ServiceError
from local.services.redshift_runner import Kept, Runner
from local.services.redshift_serverless import RedshiftServerless, database_user
from local.services.redshift_statements import (
    ENDED,
    KEPT_SECONDS,
    Part,
    Statement,
    as_csv,
    metadata,
    records,
)

ACTIVE_LIMIT = 500
TOKEN_SECONDS = 8 * 3600
PAGE_ROWS = 1000
_OWN = frozenset(
    {"DescribeStatement", "GetStatementResult", "GetStatementResultV2", "CancelStatement"}
)
_OWNER = "redshift-data:statement-owner-iam-userid"


class RedshiftData(Service):
    """Statements on the databases of Redshift Serverless."""

    model = "redshift-data"
    iam_prefix = "redshift-data"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._lock = threading.Lock()
        self._statements: dict[str, Statement] = {}
        self._tokens: dict[tuple[str, str], Statement] = {}
        self._runner = Runner(host)

    @property
    def _serverless(self) -> RedshiftServerless:
        return cast(RedshiftServerless, self.host.service("redshift-serverless"))

    def stop(self) -> None:
        """Cancel what runs; nothing of it is committed."""
        with self._lock:
            running = [s for s in self._statements.values() if s.status not in ENDED]
        self._runner.stop(running)

    def resources(self, operation: str, request: Document, caller: Caller) -> Sequence[str]:
        """Starting a statement is asked on the workgroup; the owner's statements by `_owned`."""
        if operation in _OWN:
            return []
        if operation not in ("ExecuteStatement", "BatchExecuteStatement"):
            return ["*"]
        try:
            return [self._workgroup(request)["workgroupArn"]]
        except ServiceError:
            return [f"arn:aws:redshift-serverless:{caller.region}:{caller.account}:workgroup/*"]

    def _workgroup(self, request: Document) -> Document:
        if kept := self._runner.sessions.get(request.get("SessionId", "")):
            return self._serverless.workgroup(kept.first.workgroup)
        if "WorkgroupName" not in request:
            raise ServiceError(
                "ValidationException",
                "WorkgroupName is required: the local cloud has no provisioned clusters.",
            )
        try:
            return self._serverless.workgroup(request["WorkgroupName"].rpartition("/")[2])
        except ServiceError:
            raise ServiceError(
                "ValidationException", "Redshift endpoint doesn't exist in this region."
            ) from None

    # Starting statements

    def execute_statement(self, request: Document, caller: Caller) -> Document:
        """Run one SQL statement."""
        return self._submit([request["Sql"]], request, caller, is_batch=False)

    def batch_execute_statement(self, request: Document, caller: Caller) -> Document:
        """Run several SQL statements, in one transaction unless the mode says otherwise."""
        return self._submit(request["Sqls"], request, caller, is_batch=True)

    def _submit(
        self, sqls: Sequence[str], request: Document, caller: Caller, *, is_batch: bool
    ) -> Document:
        owner, principal = self._identity(caller)
        asked = {k: v for k, v in request.items() if k not in ("ClientToken", "WaitTimeSeconds")}
        token = (principal, request.get("ClientToken", ""))
        with self._lock:
            self._forget()
            known = self._tokens.get(token) if token[1] else None
        if known is None:
            statement = self._prepare(sqls, request, caller, owner, principal, is_batch=is_batch)
            known = self._enter(statement, token)
        if known.request != asked:
            raise ServiceError(
                "ValidationException",
                "The ClientToken was used before with other parameters.",
            )
        if seconds := request.get("WaitTimeSeconds"):
            known.ended.wait(seconds)
            part = known.parts[-1]
            return {**known.started(), "Status": known.status, "HasResultSet": part.has_result}
        return known.started()

    def _identity(self, caller: Caller) -> tuple[str, str]:
        """The caller's user id, and the user or role behind the session."""
        if not caller.access_key:
            return "", ""
        arn = self.host.identity(caller)
        principal = arn.rpartition("/")[0] if ":assumed-role/" in arn else arn
        return self.host.user_id(caller), principal

    def _prepare(
        self,
        sqls: Sequence[str],
        request: Document,
        caller: Caller,
        owner: str,
        principal: str,
        *,
        is_batch: bool,
    ) -> Statement:
        """Check what can be checked before the statement runs."""
        workgroup = self._workgroup(request)
        kept = self._session(request, principal)
        if kept is not None:
            database, user, secret = kept.first.database, kept.first.user, kept.first.secret
        else:
            if not request.get("Database"):
                raise ServiceError("ValidationException", "Database is required.")
            database, secret = request["Database"], request.get("SecretArn")
            user = self._user(workgroup, request, caller)
        _check_parameters(sqls, request)
        identifier = str(uuid4())
        now = self.host.now()
        parts = [
            Part(f"{identifier}:{number}" if is_batch else identifier, sql, now)
            for number, sql in enumerate(sqls, 1)
        ]
        return Statement(
            identifier,
            owner,
            principal,
            database,
            workgroup["workgroupName"],
            user,
            now,
            {k: v for k, v in request.items() if k not in ("ClientToken", "WaitTimeSeconds")},
            parts,
            is_batch,
            name=request.get("StatementName", ""),
            secret=secret,
            session_id=request.get("SessionId")
            or (str(uuid4()) if request.get("SessionKeepAliveSeconds") else None),
            result_format=request.get("ResultFormat", "JSON"),
        )

    def _enter(self, statement: Statement, token: tuple[str, str]) -> Statement:
        """Start the statement, unless one with its token was entered in the meantime."""
        with self._lock:
            if token[1] and token in self._tokens:
                return self._tokens[token]
            active = sum(s.status not in ENDED for s in self._statements.values())
            if active >= ACTIVE_LIMIT:
                raise ServiceError(
                    "ActiveStatementsExceededException",
                    f"There are more than {ACTIVE_LIMIT} active statements.",
                )
            if token[1]:
                self._tokens[token] = statement
            self._statements[statement.id] = statement
        self._runner.start(statement)
        return statement

    def _session(self, request: Document, principal: str) -> Kept | None:
        if "SessionId" not in request:
            return None
        if "Database" in request or "WorkgroupName" in request or "SecretArn" in request:
            raise ServiceError(
                "ValidationException",
                "SessionId can't be combined with Database, WorkgroupName or SecretArn.",
            )
        kept = self._runner.sessions.get(request["SessionId"])
        if kept is None or kept.first.principal != principal:
            raise ServiceError("ResourceNotFoundException", "Session does not exist.")
        if kept.busy.locked():
            raise ServiceError("ValidationException", "Session is busy with another statement.")
        return kept

    def _user(self, workgroup: Document, request: Document, caller: Caller) -> str:
        """The database user: the secret's, or the one of the caller's IAM identity."""
        if "DbUser" in request:
            raise ServiceError(
                "ValidationException", "DbUser is not supported for serverless workgroups."
            )
        if "SecretArn" not in request:
            self.host.authorize(
                caller, "redshift-serverless:GetCredentials", workgroup["workgroupArn"]
            )
            return database_user(self.host.identity(caller))
        client = self.host.client("secretsmanager")
        from botocore.exceptions import ClientError

        try:
            answer = client.get_secret_value(SecretId=request["SecretArn"])
            arn = answer["ARN"]
            self.host.authorize(caller, "secretsmanager:GetSecretValue", arn)
            content = json.loads(answer["SecretString"])
            user, password = content["username"], content["password"]
        except (ClientError, ValueError, KeyError) as error:
            raise ServiceError(
                "ValidationException", f"The secret {request['SecretArn']} cannot be used: {error}"
            ) from None
        namespace = self._serverless.namespace(workgroup["namespaceName"])
        if (user, password) != (namespace["adminUsername"], namespace["password"]):
            raise ServiceError(
                "ValidationException", f'FATAL: password authentication failed for user "{user}"'
            )
        return str(user)

    def _forget(self) -> None:
        """Drop what is older than the API keeps it."""
        now = self.host.now()
        for token, statement in list(self._tokens.items()):
            if statement.created < now - TOKEN_SECONDS:
                del self._tokens[token]
        for identifier, statement in list(self._statements.items()):
            if statement.created < now - KEPT_SECONDS and statement.status in ENDED:
                del self._statements[identifier]

    # Asking for them

    def _owned(self, operation: str, identifier: str, caller: Caller) -> Statement:
        """A statement of the caller's own; others' do not exist for it."""
        with self._lock:
            statement = self._statements.get(identifier.partition(":")[0])
        owner = statement.owner if statement else ""
        if caller.access_key:
            action = f"{self.iam_prefix}:{operation}"
            self.host.authorize(caller, action, "*", {_OWNER: owner} if owner else None)
        if statement is None or statement.principal != self._identity(caller)[1]:
            raise ServiceError("ResourceNotFoundException", "Query does not exist.")
        return statement

    def describe_statement(self, request: Document, caller: Caller) -> Document:
        """The state of a statement or of one part of a batch."""
        identifier = request["Id"]
        statement = self._owned("DescribeStatement", identifier, caller)
        if seconds := request.get("WaitTimeSeconds"):
            statement.ended.wait(seconds)
        part = statement.part(identifier)
        if part is None:
            raise ServiceError("ResourceNotFoundException", "Query does not exist.")
        return statement.describe(part, identifier)

    def get_statement_result(self, request: Document, caller: Caller) -> Document:
        """A page of a result, in typed fields."""
        statement, part, start = self._result("GetStatementResult", request, caller)
        if statement.result_format != "JSON":
            raise ServiceError(
                "ValidationException", "The result is in CSV: use GetStatementResultV2."
            )
        outcome = part.outcome
        if outcome is None:
            raise ServiceError("ResourceNotFoundException", "Query does not have result.")
        rows = outcome.rows[start : start + PAGE_ROWS]
        return _page(
            {
                "Records": records(rows),
                "ColumnMetadata": metadata(outcome.columns or ()),
                "TotalNumRows": len(outcome.rows),
            },
            start,
            len(outcome.rows),
        )

    def get_statement_result_v2(self, request: Document, caller: Caller) -> Document:
        """A page of a result, in CSV."""
        statement, part, start = self._result("GetStatementResultV2", request, caller)
        if statement.result_format != "CSV":
            raise ServiceError("ValidationException", "The result is in JSON: use the other call.")
        outcome = part.outcome
        if outcome is None:
            raise ServiceError("ResourceNotFoundException", "Query does not have result.")
        rows = outcome.rows[start : start + PAGE_ROWS]
        return _page(
            {
                "Records": [{"CSVRecords": as_csv(outcome, rows, header=start == 0)}],
                "ColumnMetadata": metadata(outcome.columns or ()),
                "TotalNumRows": len(outcome.rows),
                "ResultFormat": "CSV",
            },
            start,
            len(outcome.rows),
        )

    def _result(
        self, operation: str, request: Document, caller: Caller
    ) -> tuple[Statement, Part, int]:
        statement = self._owned(operation, request["Id"], caller)
        if seconds := request.get("WaitTimeSeconds"):
            statement.ended.wait(seconds)
        part = statement.part(request["Id"])
        if part is None:
            raise ServiceError("ResourceNotFoundException", "Query does not exist.")
        if statement.status != "FINISHED" or not part.has_result:
            raise ServiceError(
                "ResourceNotFoundException",
                "Query does not have result. Please check query status with DescribeStatement.",
            )
        try:
            return statement, part, int(request.get("NextToken", "0"))
        except ValueError:
            raise ServiceError("ValidationException", "The NextToken is not valid.") from None

    def cancel_statement(self, request: Document, caller: Caller) -> Document:
        """Cancel a running statement; what it did is rolled back."""
        statement = self._owned("CancelStatement", request["Id"], caller)
        if statement.status in ENDED:
            raise ServiceError(
                "ValidationException",
                f"Could not cancel a query that is already in {statement.status} state.",
            )
        statement.cancel()
        return {"Status": True}

    def list_statements(self, request: Document, caller: Caller) -> Document:
        """The caller's statements, the newest first."""
        owner, principal = self._identity(caller)
        wanted = request.get("Status", "ALL")
        with self._lock:
            found = [
                s
                for s in reversed(self._statements.values())
                if (
                    s.principal == principal if request.get("RoleLevel", True) else s.owner == owner
                )
                and wanted in ("ALL", s.status)
                and s.name.startswith(request.get("StatementName", ""))
                and request.get("Database", s.database) == s.database
                and request.get("WorkgroupName", s.workgroup) == s.workgroup
            ]
        size = request.get("MaxResults") or 100
        try:
            start = int(request.get("NextToken", "0"))
        except ValueError:
            raise ServiceError("ValidationException", "The NextToken is not valid.") from None
        page = [s.listed() for s in found[start : start + size]]
        return _page({"Statements": page}, start, len(found), size)


def _page(answer: Document, start: int, total: int, size: int = PAGE_ROWS) -> Document:
    if start + size < total:
        answer["NextToken"] = str(start + size)
    return answer


def _check_parameters(sqls: Sequence[str], request: Document) -> None:
    """Each parameter must stand in the SQL; what the SQL misses the warehouse says."""
    names = [item["name"] for item in request.get("Parameters", ())]
    if len(set(names)) != len(names):
        raise ServiceError("ValidationException", "Parameters list contains duplicate names.")
    unused = [name for name in names if not any(f":{name}" in sql for sql in sqls)]
    if unused:
        raise ServiceError(
            "ValidationException",
            f"Parameters list contains unused parameters. Unused parameters: {unused}",
        )
