"""The count is exact whatever is delivered twice, refused, killed or cut into parts."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from lambdas.adapters.clients import client
from lambdas.adapters.stream import CALL_BYTES, OutOfTimeError, Stream
from lambdas.adapters.uploads import Uploads
from lambdas.stream_csv import handler as stream_csv
from scripts.generate_data import stock_price
from tidemill import upload as upload_module
from tidemill.envelope import RECORD_BYTES
from tidemill.upload import Record

ROWS = 30_000
BAD = b"A,B,x,1\n"


@pytest.fixture(scope="module")
def data() -> bytes:
    """A file of seven small ranges, with bad rows and quoted newlines, some at a range's end."""
    rows = [row.encode() for row in stock_price(ROWS)]
    for index in range(5, ROWS, 500):
        rows[index] = b'"A\nB","C ""D""\n\n",1,1\n' if index % 3 else BAD
    return b"".join(rows)


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambdas.adapters.uploads.RANGE_BYTES", 300_001)


@pytest.fixture
def put_calls(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[Any]]]:
    """Stand between `Stream` and Kinesis: `fail(call, index)` says which records it refuses."""

    def install(fail: Callable[[int, int], bool]) -> list[list[Any]]:
        kinesis, calls = client("kinesis"), []
        real, numbers = kinesis.put_records, itertools.count()

        def put_records(StreamName: str, Records: list[Any]) -> Any:  # noqa: N803  # boto3's own
            calls.append(Records)
            call = next(numbers)
            refused = [fail(call, index) for index in range(len(Records))]
            kept = [r for r, no in zip(Records, refused, strict=True) if not no]
            if kept:
                real(StreamName=StreamName, Records=kept)
            code = "ProvisionedThroughputExceededException"
            return {
                "FailedRecordCount": sum(refused),
                "Records": [{"ErrorCode": code} if no else {"ShardId": "s"} for no in refused],
            }

        monkeypatch.setattr(kinesis, "put_records", put_records)
        monkeypatch.setattr("lambdas.adapters.stream._FIRST_PAUSE", 0.001)
        return calls

    return install


def check(pipe, upload, data: bytes) -> None:
    bad = data.count(BAD)
    assert len(pipe.loaded()) == ROWS - bad
    assert len(pipe.rejected()) == bad
    item = pipe.item(upload)
    assert (item["state"], item["rows_sent"]) == ("sent", ROWS)


def test_the_records_keep_kinesis_limits(pipe, data: bytes) -> None:
    upload = pipe.upload(data)
    pipe.send(upload)
    records = pipe.records()
    assert all(len(record["Data"]) <= RECORD_BYTES for record in records)
    assert all(record["PartitionKey"].startswith("stock_price/") for record in records)
    assert len(records) <= len(data) / 240_000 + 1
    check(pipe, upload, data)


def test_the_same_event_twice(pipe, data: bytes) -> None:
    upload = pipe.upload(data)
    pipe.send(upload)
    pipe.send(upload)
    check(pipe, upload, data)


def test_a_new_version_of_an_object_is_new_rows(pipe, data: bytes) -> None:
    for _ in range(2):
        pipe.send(pipe.upload(data))
    assert len(pipe.loaded()) == 2 * (ROWS - data.count(BAD))


def test_a_record_delivered_twice_makes_the_same_rows_and_rejections(pipe, data: bytes) -> None:
    upload = pipe.upload(data)
    pipe.send(upload)
    records = pipe.records()
    assert pipe.transform(records) == pipe.transform(records)
    check(pipe, upload, data)


def test_chained_ranges_cut_no_row(pipe, data: bytes, small_ranges: None) -> None:
    whole = pipe.upload(data, name="whole.csv")
    assert pipe.send(whole) == 1
    rows = sorted(pipe.loaded().values())
    chained = pipe.upload(data, name="chained.csv")
    assert pipe.send(chained, milliseconds=1000) >= 4  # no time is left after a first step
    assert pipe.item(chained)["rows_sent"] == ROWS
    assert sorted(pipe.loaded().values()) == sorted([*rows, *rows])
    assert {row["line"] for row in pipe.rejected(f"rejected/stock_price/{whole.id}")} == {
        row["line"] for row in pipe.rejected(f"rejected/stock_price/{chained.id}")
    }


def test_a_row_that_is_too_long_for_a_range(pipe, small_ranges: None) -> None:
    head = b"ticker_symbol,sector,change,price\n"
    long = b"A,B,1," + b"1" * 1_000_000 + b"\n"
    upload = pipe.upload(head + b"A,B,1,1\n" + long + b"C,D,x,1\n" + b"E,F,1,1\n")
    pipe.send(upload, milliseconds=1000)
    assert len(pipe.loaded()) == 2
    assert [row["line"] for row in pipe.rejected()] == [3, 4]
    assert pipe.item(upload)["rows_sent"] == 4


def test_a_call_that_fails_in_part_is_retried_for_the_failed_records(
    pipe, data: bytes, put_calls
) -> None:
    calls = put_calls(lambda call, index: call < 3 and index % 2 == 0)
    upload = pipe.upload(data)
    pipe.send(upload)
    check(pipe, upload, data)
    keys = [record["PartitionKey"] for record in pipe.records()]
    assert len(keys) == len(set(keys))
    assert calls[1][0] == calls[0][0]


def test_killed_after_its_put(pipe, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise RuntimeError("killed")

    upload = pipe.upload(data)
    with monkeypatch.context() as patch:
        patch.setattr(Uploads, "sent", killed)
        assert pipe.deliver(upload.notification()) == ["0"]
    assert pipe.item(upload)["state"] == "streaming"
    pipe.send(upload)
    check(pipe, upload, data)


def test_a_stream_that_takes_nothing_fails_the_message(pipe, data: bytes, put_calls) -> None:
    put_calls(lambda call, index: True)
    upload = pipe.upload(data)
    assert pipe.deliver(upload.notification(), milliseconds=3500) == ["0"]
    assert pipe.chained() is None


def test_one_failing_message_does_not_fail_its_neighbours(pipe, data: bytes) -> None:
    upload = pipe.upload(data)
    missing = {
        "Records": [
            {"s3": {"bucket": {"name": "nonesuch"}, "object": {"key": upload.key, "size": 9}}}
        ]
    }
    test_event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "input"}
    assert pipe.deliver(missing, test_event, upload.notification()) == ["0"]
    check(pipe, upload, data)


def test_calls_keep_kinesis_limits(pipe, put_calls) -> None:
    calls = put_calls(lambda call, index: False)
    records = [Record(b"x" * 200_000, f"m/{n}") for n in range(40)]
    records += [Record(b"x", f"m/{n}") for n in range(1200)]
    Stream("stream").put(records, time.monotonic() + 60)
    assert sum(map(len, calls)) == len(records)
    for call in calls:
        assert len(call) <= 500
        assert sum(len(r["Data"]) + len(r["PartitionKey"]) for r in call) <= CALL_BYTES


def test_a_throttled_stream_is_asked_for_less(pipe, put_calls) -> None:
    """A shard that takes a megabyte a call is not sent four and a half each time."""
    calls = put_calls(lambda call, index: index >= 5)
    records = [Record(b"x" * 200_000, f"m/{n}") for n in range(30)]
    Stream("stream", pause=lambda _: None).put(records, time.monotonic() + 60)
    sent = sum(map(len, calls))
    assert sent <= 2.1 * len(records)


def test_time_runs_out(pipe, put_calls) -> None:
    put_calls(lambda call, index: True)
    with pytest.raises(OutOfTimeError):
        Stream("stream").put([Record(b"x", "m/1")], time.monotonic() + 0.01)


def test_what_a_device_puts(pipe) -> None:
    kinesis = client("kinesis")
    for key, record in [
        ("stock_price", b"A,B,1,1\nA,B,x,1\n\nC,D,2,2"),
        ("stock_price/17", b'{"ticker_symbol":"E","sector":null,"change":1e-5,"price":3}\n[]\n'),
        ("stock_price/18", b'{"ticker_symbol":"E","sector":"","change":NaN,"price":3}'),
        ("stock_price/19", b'{"ticker_symbol":"E","sector":"F","change":1}'),
        ("nonesuch", b"A,B,1,1\n"),
        ("stock_price", b'{"tidemill":1,broken\n'),
    ]:
        kinesis.put_record(StreamName="stream", PartitionKey=key, Data=record)
    records = pipe.records()
    rows = pipe.loaded()
    assert sorted(rows.values()) == [
        ["A", "B", "1", "1"],
        ["C", "D", "2", "2"],
        ["E", "", "1e-5", "3"],
    ]
    rejected = pipe.rejected()
    assert sorted((row["reason"], row["line"]) for row in rejected) == [
        ("change is not a number (FLOAT)", 2),
        ("the row is not a JSON object", 1),
        ("the row is not a JSON object", 1),
        ("the row is not a JSON object", 2),
        ("the row lacks price", 1),
        ("there is no such model", 1),
    ]
    assert any(row["key"].startswith("rejected/_unknown/device/shardId-") for row in rejected)
    assert pipe.transform(records) == pipe.transform(records)


def test_a_devices_own_event_id_makes_the_row_id(pipe) -> None:
    row = b'{"event_id": 7, "ticker_symbol": "A", "sector": "B", "change": 1, "price": 2}'
    for _ in range(2):
        client("kinesis").put_record(StreamName="stream", PartitionKey="stock_price", Data=row)
    assert list(pipe.loaded().values()) == [["A", "B", "1", "2"]]


def test_what_does_not_fit_into_a_response_is_failed_and_so_kept(pipe, monkeypatch) -> None:
    monkeypatch.setattr("lambdas.transform_records.handler.RESPONSE_BYTES", 1_100_000)
    tiny = {"Data": b",,,\n" * 10_000, "PartitionKey": "stock_price", "ShardId": "s"}
    results = pipe.transform([{**tiny, "SequenceNumber": str(n)} for n in range(4)])
    assert [r["result"] for r in results] == ["Ok"] * 2 + ["ProcessingFailed"] * 2
    assert sum(len(r.get("data", "")) for r in results) < 1_100_000
    assert base64.b64decode(results[0]["data"]).count(b"\n") == 10_000


@pytest.mark.parametrize(
    "row",
    [
        b",,,\n",
        b'"A\nB",C,1,2\n',
        b'{"ticker_symbol":"A","sector":"","change":1,"price":null}\n',
    ],
    ids=["short rows", "rows of two lines", "JSON"],
)
def test_what_a_device_packs_too_tightly_is_rejected_row_by_row(pipe, row: bytes) -> None:
    rows, lines = 12_000, row.count(b"\n")
    record = {"Data": row * rows, "PartitionKey": "stock_price/x", "ShardId": "s"}
    (result,) = pipe.transform([{**record, "SequenceNumber": "1"}])
    accepted = list(csv.reader(io.StringIO(base64.b64decode(result["data"]).decode(), newline="")))
    rejected = pipe.rejected()
    assert len(accepted) == 10_000 // lines
    assert len(accepted) + len(rejected) == rows
    assert {row["reason"] for row in rejected} == {
        "a record may hold 10000 lines: send the rest in other records"
    }
    assert rejected[0]["line"] == 10_001
    assert rejected[0]["row"] == row.decode().rstrip()


def test_short_rows_of_a_file_stay_under_the_limit_too(pipe) -> None:
    upload = pipe.upload(b"ticker_symbol,sector,change,price\n" + b",,,\n" * 250_000)
    pipe.send(upload)
    records = pipe.records()
    assert all(record["Data"].count(b"\n") <= 10_001 for record in records)
    assert pipe.item(upload)["rows_sent"] == 250_000
    # Firehose hands records over when they are 200 KB, the smallest that it can be told.
    sizes = itertools.accumulate(len(record["Data"]) for record in records)
    results = pipe.transform(records[: sum(size < 200_000 for size in sizes) + 1])
    assert {result["result"] for result in results} == {"Ok"}


def test_the_position_travels_by_message() -> None:
    position = upload_module.Position(
        upload_module.Source("m", "b", "k", "v"), 9, 3, 2, 1, ("a", "b"), skipping=True
    )
    message = position.to_message()
    assert list(stream_csv.positions(message)) == [position]
