"""Every kind of bad file through the deployed stacks: rows sent = rows loaded + rows rejected."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from scripts.commands.warehouse import Warehouse
from tests.corpus import CASES, REFUSALS, Case, Refusal, Row
from tidemill.rows import source_id

from .conftest import Journey

SECONDS = 90
"""Within which all files of the corpus must have arrived."""


@dataclass(frozen=True)
class Upload:
    """One version of an uploaded object."""

    source: str
    version_id: str
    id: str


@dataclass(frozen=True)
class Arrived:
    """What became of the uploads, each by the id of its source."""

    uploads: dict[str, Upload]
    items: dict[str, dict[str, Any]]
    rows: dict[str, list[Row]]
    rejected: dict[str, list[dict[str, Any]]]
    keys: dict[str, list[str]]
    errors: set[str]
    """What Firehose could not deliver meanwhile."""


class Cloud:
    """What the tests ask the deployed stacks."""

    def __init__(self, journey: Journey) -> None:
        target = journey.target
        self._client, self._outputs = target.client, target.outputs
        self._warehouse = Warehouse(target)

    def upload(self, case: Case | Refusal, model: str) -> Upload:
        bucket = self._outputs["InputBucket"]
        key = f"stream-input-data/{model}/{case.name}.csv"
        put = self._client("s3").put_object(Bucket=bucket, Key=key, Body=case.data)
        version: str = put["VersionId"]
        return Upload(f"s3://{bucket}/{key}", version, source_id(bucket, key, version))

    def items(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        found = {}
        for identifier in ids:
            answer = self._client("dynamodb").get_item(
                TableName=self._outputs["UploadsTable"],
                Key={"source_id": {"S": identifier}},
                ConsistentRead=True,
            )
            item = {k: next(iter(v.values())) for k, v in answer.get("Item", {}).items()}
            found[identifier] = item
        return found

    def loaded(self, ids: Iterable[str]) -> dict[str, list[Row]]:
        listed = ", ".join(f"'{identifier}'" for identifier in ids)
        sql = (
            "SELECT source_id, ticker_symbol, sector, change, price FROM models.scratch"  # noqa: S608  # ids of ours
            f" WHERE source_id IN ({listed})"
        )
        rows: dict[str, list[Row]] = {}
        for source, *row in self._warehouse.rows(sql):
            rows.setdefault(source, []).append(tuple(row))
        return rows

    def rejections(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        s3, bucket = self._client("s3"), self._outputs["LakeBucket"]
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="rejected/")
        for page in pages:
            for item in page.get("Contents", []):
                body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
                yield item["Key"], [json.loads(line) for line in body.splitlines()]

    def errors(self) -> set[str]:
        bucket = self._outputs["LakeBucket"]
        listed = self._client("s3").list_objects_v2(Bucket=bucket, Prefix="errors/")
        return {item["Key"] for item in listed.get("Contents", [])}


@pytest.fixture(scope="module")
def cloud(journey: Journey) -> Cloud:
    return Cloud(journey)


@pytest.fixture(scope="module")
def arrived(cloud: Cloud) -> Arrived:
    """All files of the corpus, uploaded at once, and what came of them."""
    before = cloud.errors()
    uploads = {case.name: cloud.upload(case, "scratch") for case in CASES}
    uploads |= {refusal.name: cloud.upload(refusal, refusal.model) for refusal in REFUSALS}
    ids = {upload.id for upload in uploads.values()}
    expected = Counter({uploads[case.name].id: len(case.loaded) for case in CASES})
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        items = cloud.items(ids)
        if all(item.get("state") in ("sent", "refused") for item in items.values()):
            rows = cloud.loaded(ids)
            if all(len(rows.get(i, [])) >= expected[i] for i in ids):
                break
        time.sleep(0.5)
    rejected: dict[str, list[dict[str, Any]]] = {}
    keys: dict[str, list[str]] = {}
    for key, found in cloud.rejections():
        source = key.split("/")[2]
        rejected.setdefault(source, []).extend(found)
        keys.setdefault(source, []).append(key)
    errors = cloud.errors() - before
    return Arrived(uploads, cloud.items(ids), cloud.loaded(ids), rejected, keys, errors)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_good_neighbours_load_and_bad_rows_say_why(arrived: Arrived, case: Case) -> None:
    upload = arrived.uploads[case.name]
    item = arrived.items[upload.id]
    loaded = arrived.rows.get(upload.id, [])
    rejected = arrived.rejected.get(upload.id, [])
    assert item["state"] == "sent"
    assert int(item["rows_sent"]) == len(loaded) + len(rejected)
    assert sorted(loaded, key=repr) == sorted(case.loaded, key=repr)
    assert sorted(row["reason"] for row in rejected) == sorted(case.reasons)
    assert all(row["source"] == upload.source for row in rejected)
    assert all(row["version_id"] == upload.version_id for row in rejected)
    assert all(row["line"] > 1 for row in rejected)
    if case.lines:
        assert sorted(row["line"] for row in rejected) == sorted(case.lines)
    told = sum(int(key[:-6].rpartition("-")[2]) for key in arrived.keys.get(upload.id, []))
    assert told == len(rejected)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_a_file_that_is_no_csv_of_a_model_is_refused_as_a_whole(
    arrived: Arrived, refusal: Refusal
) -> None:
    upload = arrived.uploads[refusal.name]
    item = arrived.items[upload.id]
    assert (item["state"], item["rows_sent"]) == ("refused", "0")
    assert refusal.reason in item["reason"]
    (rejected,) = arrived.rejected[upload.id]
    assert rejected["reason"] == item["reason"]
    assert (rejected["source"], rejected["line"]) == (upload.source, 1)
    assert upload.id not in arrived.rows


def test_nothing_went_astray(arrived: Arrived) -> None:
    assert arrived.errors == set()
    assert len(CASES) + len(REFUSALS) >= 50
    assert len(arrived.uploads) == len(CASES) + len(REFUSALS)
