"""The Redshift Data API as the adapter sees it, over the local warehouse's own SQL engine."""

from __future__ import annotations

import gzip
import itertools
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from lambdas.adapters import clients
from local.services.warehouse.database import Database
from local.services.warehouse.errors import WarehouseError as EngineError
from local.services.warehouse.session import Session

LAKE = "lake"
COPY_ROLE = "arn:aws:iam::123456789012:role/copy"
LOADER = "tidemill-dev-LoadWarehouseRole-AbC"


class DataApi:
    """BatchExecuteStatement and its kin: tokens, statuses and errors as Redshift has them."""

    def __init__(self, database: Database, s3: Any) -> None:
        self.database = database
        self.s3 = s3
        self.statements: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, str] = {}
        self.results: dict[str, Any] = {}
        self.conflicts = 0
        self.batches: list[dict[str, Any]] = []

    def batch_execute_statement(self, **request: Any) -> Any:
        sqls, token = request.pop("Sqls"), request.pop("ClientToken", "")
        assert 1 <= len(sqls) <= 40
        assert all(len(sql.encode()) <= 100_000 for sql in sqls)
        assert len(token) <= 64
        self.batches.append({"token": token, "sqls": sqls})
        if token and token in self.tokens:
            return {"Id": self.tokens[token]}
        identity = str(uuid.uuid4())
        self.tokens[token] = identity
        self.statements[identity] = {"Id": identity, **self._run(sqls, request, explicit=True)}
        return {"Id": identity}

    def execute_statement(self, **request: Any) -> Any:
        sql = request.pop("Sql")
        identity = str(uuid.uuid4())
        self.statements[identity] = {
            "Id": identity,
            **self._run([sql], request, explicit=False, keep=identity),
        }
        return {"Id": identity}

    def describe_statement(self, **request: str) -> Any:
        return self.statements[request["Id"]]

    def get_statement_result(self, **request: str) -> Any:
        rows = self.results[request["Id"]]
        start = int(request.get("NextToken", "0"))
        page = {"Records": [[_cell(value) for value in row] for row in rows[start : start + 2]]}
        return page | ({"NextToken": str(start + 2)} if start + 2 < len(rows) else {})

    def _run(self, sqls: list[str], who: dict[str, str], *, explicit: bool, keep: str = "") -> Any:
        assert who["WorkgroupName"] == "tidemill-dev"
        admin = "SecretArn" in who
        user = "tidemill_admin" if admin else f"IAMR:{LOADER}"
        session = Session(self.database, user, superuser=admin, storage=lambda role: self.s3)
        if self.conflicts:
            self.conflicts -= 1
            return {
                "Status": "FAILED",
                "Error": "ERROR: 1023\n  DETAIL: Serializable isolation violation on table - 101",
            }
        parts = []
        try:
            if explicit:
                session.begin()
            for sql in sqls:
                outcome = session.execute(sql)
                parts.append({"Status": "FINISHED", "ResultRows": outcome.count})
                if keep:
                    self.results[keep] = outcome.rows
            session.commit()
        except EngineError as error:
            return {"Status": "FAILED", "Error": f"ERROR: {error}", "SubStatements": parts}
        finally:
            session.close()
        return {"Status": "FINISHED", "SubStatements": parts}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        session = Session(self.database, "admin", superuser=True, storage=lambda role: self.s3)
        try:
            return session.execute(sql).rows
        finally:
            session.close()


def _cell(value: Any) -> dict[str, Any]:
    if value is None:
        return {"isNull": True}
    return {"longValue" if isinstance(value, int) else "stringValue": value}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "LAKE_BUCKET": LAKE,
        "WORKGROUP_NAME": "tidemill-dev",
        "DATABASE": "tidemill",
        "COPY_ROLE_ARN": COPY_ROLE,
        "ADMIN_SECRET_ARN": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:admin",
        "LOADER_ROLE_NAME": LOADER,
        "EXTRACTOR_ROLE_NAME": "tidemill-dev-refresh",
        "POWERTOOLS_METRICS_NAMESPACE": "tidemill",
        "POWERTOOLS_TRACE_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture
def s3(environment: None) -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(
            Bucket=LAKE, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        yield client


@pytest.fixture
def data_api(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataApi]:
    database = Database(tmp_path, "tidemill")
    api = DataApi(database, s3)
    kept = {"redshift-data": api, "s3": s3}
    monkeypatch.setattr("lambdas.adapters.warehouse.client", kept.__getitem__)
    monkeypatch.setattr("lambdas.adapters.manifests.client", kept.__getitem__)
    clients.client.cache_clear()
    yield api
    database.close()


class Context(SimpleNamespace):
    function_name = "function"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:function"
    aws_request_id = "1"
    left = 600_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left


@pytest.fixture
def context() -> Context:
    return Context()


class Lake:
    """Writes files as Firehose does, and the messages that tell of them."""

    def __init__(self, s3: Any) -> None:
        self.s3 = s3
        self.numbers = itertools.count(1)

    def put(self, lines: list[str], *, model: str = "stock_price", name: str | None = None) -> str:
        key = f"rows/{model}/2026/11/20/20/{name or f'tidemill-{next(self.numbers)}'}.gz"
        body = gzip.compress("".join(f"{line}\n" for line in lines).encode())
        self.s3.put_object(Bucket=LAKE, Key=key, Body=body)
        return key

    def put_raw(self, body: bytes, *, model: str = "stock_price") -> str:
        key = f"rows/{model}/2026/11/20/20/raw-{next(self.numbers)}.gz"
        self.s3.put_object(Bucket=LAKE, Key=key, Body=body)
        return key

    def message(self, *keys: str, received: int = 1) -> dict[str, Any]:
        records = [{"s3": {"bucket": {"name": LAKE}, "object": {"key": key}}} for key in keys]
        return {
            "messageId": f"m{next(self.numbers)}",
            "body": json.dumps({"Records": records}),
            "attributes": {"ApproximateReceiveCount": str(received)},
        }


@pytest.fixture
def lake(s3: Any) -> Lake:
    return Lake(s3)
