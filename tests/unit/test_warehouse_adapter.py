"""The Redshift Data API adapter: requests that the API takes, polling, errors, pages."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lambdas.adapters.warehouse import Warehouse
from tidemill.errors import StatementConflictError, StatementTimeoutError, WarehouseError

ID = "11111111-1111-1111-1111-111111111111"
IDENTITY = {"WorkgroupName": "work", "Database": "tidemill"}
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:admin"


class Clock:
    def __init__(self) -> None:
        self.time = 0.0
        self.pauses: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds


class Api:
    """A real client whose answers are set; botocore checks requests and answers."""

    def __init__(self) -> None:
        self.client = boto3.client(
            "redshift-data",
            region_name="eu-central-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
        )
        self.stub = Stubber(self.client)
        self.stub.activate()
        self.clock = Clock()

    def warehouse(self, secret: str | None = None) -> Warehouse:
        clock = self.clock
        return Warehouse("work", "tidemill", secret, lambda: self.client, clock.now, clock.sleep)

    def describes(self, *answers: dict[str, Any]) -> None:
        for answer in answers:
            self.stub.add_response("describe_statement", {"Id": ID, **answer}, {"Id": ID})


@pytest.fixture
def api() -> Api:
    return Api()


def begins(api: Api, sqls: list[str]) -> None:
    expected = {"Sqls": sqls, "ClientToken": "t", **IDENTITY}
    api.stub.add_response("batch_execute_statement", {"Id": ID}, expected)


def test_a_transaction_is_followed_with_growing_pauses(api: Api) -> None:
    begins(api, ["a", "b"])
    parts = [{"Id": f"{ID}:1", "ResultRows": 3}, {"Id": f"{ID}:2"}]
    api.describes(
        {"Status": "SUBMITTED"},
        *[{"Status": "STARTED"}] * 20,
        {"Status": "FINISHED", "SubStatements": parts},
    )
    assert api.warehouse().transaction(["a", "b"], token="t", deadline=60) == [3, 0]
    pauses = api.clock.pauses
    assert pauses[0] < 0.05
    assert pauses == sorted(pauses)
    assert pauses[-1] == 2.0
    api.stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (
            {"Error": "ERROR: 1023\n  DETAIL: Serializable isolation violation on table"},
            StatementConflictError,
        ),
        (
            {"SubStatements": [{"Id": f"{ID}:1"}, {"Id": f"{ID}:2", "Error": "deadlock detected"}]},
            StatementConflictError,
        ),
        ({"Error": "ERROR: Load into table 'staging' failed, line 10230"}, WarehouseError),
        ({}, WarehouseError),
    ],
)
def test_failures(api: Api, answer: dict[str, Any], error: type[Exception]) -> None:
    begins(api, ["a"])
    api.describes({"Status": "FAILED" if answer else "ABORTED", **answer})
    with pytest.raises(WarehouseError) as caught:
        api.warehouse().transaction(["a"], token="t", deadline=60)
    assert type(caught.value) is error


def test_a_deadline_ends_the_waiting(api: Api) -> None:
    begins(api, ["a"])
    api.describes(*[{"Status": "STARTED"}] * 10)
    with pytest.raises(StatementTimeoutError, match="still started"):
        api.warehouse().transaction(["a"], token="t", deadline=0.2)
    assert api.clock.time == pytest.approx(0.2)


def test_a_query_as_administrator_reads_every_page(api: Api) -> None:
    expected = {"Sql": "q", **IDENTITY, "SecretArn": SECRET}
    api.stub.add_response("execute_statement", {"Id": ID}, expected)
    api.describes({"Status": "FINISHED"})
    pages = [
        {"Records": [[{"stringValue": "a"}, {"isNull": True}]], "NextToken": "n"},
        {"Records": [[{"longValue": 1}, {"booleanValue": False}]]},
    ]
    api.stub.add_response("get_statement_result", pages[0], {"Id": ID})
    api.stub.add_response("get_statement_result", pages[1], {"Id": ID, "NextToken": "n"})
    assert api.warehouse(SECRET).query("q", deadline=60) == [["a", None], [1, False]]
