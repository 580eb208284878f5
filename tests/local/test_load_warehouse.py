"""load_warehouse and migrate_warehouse against the local cloud's own Redshift, role by role."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lambdas.adapters.manifests import Manifests
from lambdas.adapters.warehouse import Warehouse
from tidemill.errors import WarehouseError
from tidemill.load import Loader
from tidemill.migration import migrate
from tidemill.model import load_models
from tidemill.warehouse import unload_sql

MODELS = load_models(Path(__file__).parents[2] / "models")
STOCK = MODELS["stock_price"]
BUCKET = "warehouse-lake"
LOADER, EXTRACTOR = "loader-Role-1", "extractor-Role-1"


@dataclass
class Administration:
    """What `migrate` asks for, without its retries."""

    warehouse: Warehouse

    def query(self, statement: str) -> Any:
        return self.warehouse.query(statement, deadline=time.monotonic() + 30)

    def execute(self, statement: str) -> Any:
        return self.warehouse.execute(statement, deadline=time.monotonic() + 30)

    def transaction(self, statements: Any) -> Any:
        return self.warehouse.transaction(statements, deadline=time.monotonic() + 30)


@dataclass
class House:
    """A workgroup with the lake beside it, and who enters it."""

    client: Any
    admin: Warehouse
    copy_role: str

    def session(self, role: str) -> Any:
        """boto3 clients that sign as a role."""
        account = self.client("sts").get_caller_identity()["Account"]
        kept = self.client("sts").assume_role(
            RoleArn=f"arn:aws:iam::{account}:role/{role}", RoleSessionName="test"
        )["Credentials"]
        keys = {
            "aws_access_key_id": kept["AccessKeyId"],
            "aws_secret_access_key": kept["SecretAccessKey"],
            "aws_session_token": kept["SessionToken"],
        }
        return lambda service: self.client(service, **keys)

    def warehouse(self, role: str) -> Warehouse:
        api = self.session(role)("redshift-data")
        return Warehouse("load-test", "tidemill", data_api=lambda: api)

    def loader(self, monkeypatch: pytest.MonkeyPatch) -> Loader:
        session = self.session(LOADER)
        monkeypatch.setattr("lambdas.adapters.manifests.client", session)
        return Loader(self.warehouse(LOADER), Manifests(BUCKET), self.copy_role)

    def put(self, name: str, lines: list[str]) -> str:
        key = f"rows/stock_price/{name}.gz"
        body = gzip.compress("".join(f"{line}\n" for line in lines).encode())
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def count(self) -> int:
        sql = "SELECT COUNT(*) FROM models.stock_price"
        return int(self.admin.query(sql, deadline=time.monotonic() + 30)[0][0])


@pytest.fixture(scope="module")
def house(client: Any, lab: Any) -> Iterator[House]:
    client("s3").create_bucket(
        Bucket=BUCKET,
        **(
            {}
            if client("s3").meta.region_name == "us-east-1"
            else {
                "CreateBucketConfiguration": {"LocationConstraint": client("s3").meta.region_name}
            }
        ),
    )
    lake = f"arn:aws:s3:::{BUCKET}"
    copy_role = lab.role(
        "copy-1",
        "redshift.amazonaws.com",
        lab.allow("s3:*", on=lake),
        lab.allow("s3:*", on=f"{lake}/*"),
    )
    data = lab.allow("redshift-data:*", "redshift-serverless:GetCredentials")
    for role in (LOADER, EXTRACTOR):
        lab.role(role, "lambda.amazonaws.com", data, lab.allow("s3:PutObject", on=f"{lake}/*"))
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        client("iam").update_assume_role_policy(
            RoleName=role,
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        )
    serverless = client("redshift-serverless")
    namespace = serverless.create_namespace(
        namespaceName="load-test",
        dbName="tidemill",
        manageAdminPassword=True,
        adminUsername="tidemill_admin",
        iamRoles=[copy_role],
    )["namespace"]
    serverless.create_workgroup(
        workgroupName="load-test",
        namespaceName="load-test",
        subnetIds=["subnet-1", "subnet-2", "subnet-3"],
    )
    api = client("redshift-data")
    admin = Warehouse("load-test", "tidemill", namespace["adminPasswordSecretArn"], lambda: api)
    yield House(client, admin, copy_role)
    serverless.delete_workgroup(workgroupName="load-test")
    serverless.delete_namespace(namespaceName="load-test")


def test_migrate_load_unload(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def migrated() -> list[str]:
        return migrate(
            Administration(house.admin),
            MODELS.values(),
            database="tidemill",
            loader_role=LOADER,
            extractor_role=EXTRACTOR,
        )

    assert migrated()
    assert migrated() == []

    loader, later = house.loader(monkeypatch), time.monotonic() + 60
    files = [
        house.put(str(n), [f"row{n:013d},source0000000000,AAA,tech,{n},{n}"]) for n in range(4)
    ]
    files.append(house.put("bad", ["row,source,AAA,tech,none,1"]))
    outcome = loader.load(STOCK, files, delivery=1, deadline=later)
    assert set(outcome.errors) == {files[-1]}
    assert outcome.new_rows == 4
    again = loader.load(STOCK, files[:4], delivery=2, deadline=later)
    assert (again.new_rows, again.errors) == (0, {})
    assert house.count() == 4

    extractor = house.warehouse(EXTRACTOR)
    target = f"s3://{BUCKET}/snapshots/stock_price/run/"
    extractor.execute(unload_sql(STOCK, target, house.copy_role), deadline=later)
    found = house.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="snapshots/")["Contents"]
    assert len(found) == 1
    with pytest.raises(WarehouseError, match="permission denied"):
        extractor.execute("SELECT * FROM tidemill.loaded_files", deadline=later)
    with pytest.raises(WarehouseError, match="permission denied"):
        loader.warehouse.transaction(["DELETE FROM models.stock_price"], token="d", deadline=later)
    with pytest.raises(WarehouseError, match="permission denied"):
        extractor.execute("INSERT INTO models.iris (row_id) VALUES ('x')", deadline=later)


def test_two_loaders_at_once_load_each_row_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, later = house.loader(monkeypatch), time.monotonic() + 60
    before = house.count()
    lines = [f"twice{n:011d},source0000000000,AAA,tech,{n},{n}" for n in range(2000)]
    sets = [
        [house.put(f"two-{part}-{n}", lines[n * 500 : (n + 1) * 500]) for n in range(4)]
        for part in range(3)
    ]
    outcomes: list[Any] = []

    def load(files: list[str]) -> None:
        outcomes.append(loader.load(STOCK, files, delivery=1, deadline=later))

    threads = [threading.Thread(target=load, args=(files,)) for files in sets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.errors for outcome in outcomes] == [{}, {}, {}]
    assert sum(outcome.new_rows for outcome in outcomes) == 2000
    assert house.count() == before + 2000
