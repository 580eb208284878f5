"""The Data API over Redshift Serverless, with moto for the secret."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.services.base import Caller, Document, Service, ServiceError
from local.services.protocol import Dispatcher
from local.services.redshift_data import RedshiftData
from local.services.redshift_serverless import RedshiftServerless, database_user

NOBODY = Caller("", "123456789012", "us-east-1")
ADMIN = {
    "WorkgroupName": "tidemill-dev",
    "Database": "tidemill",
    "SecretArn": "redshift!tidemill-dev-boss",
}


class Host:
    account, region = NOBODY.account, NOBODY.region

    def __init__(self, directory: Path) -> None:
        self.state_directory = directory
        self.services: dict[str, Service] = {}
        self.asked: list[tuple[str, Mapping[str, str] | None]] = []

    def now(self) -> float:
        return time.time()

    def authorize(
        self,
        caller: Caller,
        action: str,
        resource: str,
        context: Mapping[str, str] | None = None,
    ) -> None:
        self.asked.append((action, context))

    def identity(self, caller: Caller) -> str:
        return f"arn:aws:sts::123456789012:assumed-role/{caller.access_key}/session"

    def user_id(self, caller: Caller) -> str:
        return f"{caller.access_key}:session"

    def client(self, service: str) -> Any:
        return boto3.client(service, region_name="us-east-1")  # type: ignore[call-overload]  # no literal

    def service(self, model: str) -> Service:
        return self.services[model]


class Warehouse:
    def __init__(self, host: Host) -> None:
        self.host = host
        self.serverless = RedshiftServerless(host)  # type: ignore[arg-type]  # what it uses of a Host
        self.data = RedshiftData(host)  # type: ignore[arg-type]  # what it uses of a Host
        host.services = {"redshift-serverless": self.serverless, "redshift-data": self.data}
        self.dispatcher = Dispatcher(self.data)

    def call(self, operation: str, who: str = "admin", **request: Any) -> Document:
        return self.dispatcher.call(operation, request, Caller(who, NOBODY.account, NOBODY.region))

    def run(self, who: str = "admin", **request: Any) -> Document:
        operation = "BatchExecuteStatement" if "Sqls" in request else "ExecuteStatement"
        started = self.call(operation, who, **request)
        return self.call("DescribeStatement", who, Id=started["Id"], WaitTimeSeconds=30)


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        made = Warehouse(Host(tmp_path))
        namespace, workgroup = made.serverless.resource_types()
        properties = {
            "NamespaceName": "tidemill-dev",
            "DbName": "tidemill",
            "ManageAdminPassword": "true",
            "AdminUsername": "boss",
        }
        resource = namespace.create("N", properties, NOBODY)
        assert ":secret:redshift!" in resource.attributes["Namespace.AdminPasswordSecretArn"]
        reached = workgroup.create(
            "W", {"WorkgroupName": "tidemill-dev", "NamespaceName": "tidemill-dev"}, NOBODY
        )
        assert reached.attributes["Workgroup.Endpoint.Port"] == 5439
        made.run(Sql="CREATE TABLE t (a INTEGER, b VARCHAR(4))", **ADMIN)
        yield made
        made.data.stop()
        made.serverless.stop()


def test_a_batch_is_one_transaction(warehouse: Warehouse) -> None:
    done = warehouse.run(Sqls=["INSERT INTO t VALUES (1, 'x')", "SELECT a, b FROM t"], **ADMIN)
    assert [part["Status"] for part in done["SubStatements"]] == ["FINISHED", "FINISHED"]
    result = warehouse.call("GetStatementResult", Id=f"{done['Id']}:2")
    assert result["Records"] == [[{"longValue": 1}, {"stringValue": "x"}]]
    assert [column["typeName"] for column in result["ColumnMetadata"]] == ["int4", "varchar"]
    bad = warehouse.run(
        Sqls=["INSERT INTO t VALUES (2, 'x')", "INSERT INTO t VALUES (3, 'xxxxx')", "SELECT 1"],
        **ADMIN,
    )
    assert [part["Status"] for part in bad["SubStatements"]] == ["FINISHED", "FAILED", "ABORTED"]
    assert bad["Error"].startswith("Query #2 failed with ERROR: value too long")
    assert warehouse.run(Sql="SELECT * FROM t", **ADMIN)["ResultRows"] == 1


def test_a_token_runs_once(warehouse: Warehouse) -> None:
    request = {"Sql": "INSERT INTO t VALUES (1, 'x')", "ClientToken": "once", **ADMIN}
    assert warehouse.run(**request)["Id"] == warehouse.run(**request)["Id"]
    assert warehouse.run(Sql="SELECT * FROM t", **ADMIN)["ResultRows"] == 1
    with pytest.raises(ServiceError):
        warehouse.run(**{**request, "Sql": "SELECT 1"})


def test_identities_have_users_and_statements_owners(warehouse: Warehouse) -> None:
    own = {"WorkgroupName": "tidemill-dev", "Database": "tidemill"}
    denied = warehouse.run("Loader", Sql="SELECT * FROM t", **own)
    assert denied["Status"] == "FAILED"
    assert denied["Error"] == "ERROR: permission denied for relation t"
    assert denied["DbUser"] == "IAMR:Loader"
    asked = dict(warehouse.host.asked)
    assert "redshift-serverless:GetCredentials" in asked
    assert asked["redshift-data:DescribeStatement"] == {
        "redshift-data:statement-owner-iam-userid": "Loader:session"
    }
    with pytest.raises(ServiceError, match="Query does not exist"):
        warehouse.call("DescribeStatement", "Other", Id=denied["Id"])
    assert database_user("arn:aws:iam::1:user/path/Ann") == "IAM:Ann"
