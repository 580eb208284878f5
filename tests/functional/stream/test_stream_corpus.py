"""Rows sent = rows loaded + rows rejected, for every kind of file that people upload."""

from __future__ import annotations

import pytest

from scripts.generate_data import BAD_ROWS
from tests.corpus import CASES, GOOD, HEAD, PROJECT, REFUSALS, Case, Refusal


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_good_neighbours_load_and_bad_rows_say_why(pipe, case: Case) -> None:
    upload = pipe.upload(case.data)
    pipe.send(upload)
    loaded, rejected = pipe.loaded(), pipe.rejected(f"rejected/stock_price/{upload.id}/")
    item = pipe.item(upload)
    assert item["state"] == "sent"
    assert item["rows_sent"] == len(loaded) + len(rejected)
    rows = [
        (ticker or None, sector or None, *(float(text) if text else None for text in numbers))
        for ticker, sector, *numbers in loaded.values()
    ]
    assert sorted(rows, key=repr) == sorted(case.loaded, key=repr)
    assert sorted(row["reason"] for row in rejected) == sorted(case.reasons)
    assert all(row["source"] == f"s3://input/{upload.key}" for row in rejected)
    assert all(row["version_id"] == upload.version_id for row in rejected)
    if case.lines:
        assert sorted(row["line"] for row in rejected) == sorted(case.lines)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_a_file_that_is_no_csv_of_a_model_is_refused_as_a_whole(pipe, refusal: Refusal) -> None:
    upload = pipe.upload(refusal.data, model=refusal.model)
    pipe.send(upload)
    assert pipe.loaded() == {}
    (rejected,) = pipe.rejected()
    item = pipe.item(upload)
    assert item["state"] == "refused"
    assert item["rows_sent"] == 0
    assert refusal.reason in item["reason"]
    assert item["reason"] == rejected["reason"]
    assert rejected["line"] == 1
    assert not rejected["counts"]
    known = "stock_price" if refusal.model == "stock_price" else "_unknown"
    assert rejected["key"] == f"rejected/{known}/{upload.id}/{0:016d}-0.jsonl"


def test_the_dirty_sample(pipe) -> None:
    upload = pipe.upload((PROJECT / "samples/dirty.csv").read_bytes())
    pipe.send(upload)
    assert len(pipe.loaded()) == len(BAD_ROWS) + 1
    rejected = pipe.rejected()
    assert [row["line"] for row in rejected] == list(range(3, 3 + 2 * len(BAD_ROWS), 2))
    assert [row["row"] for row in rejected] == list(BAD_ROWS)


def test_values_arrive_as_they_were(pipe) -> None:
    rows = b'"A\r\nB","""x""",+1.50,""\n"1,2",\xc3\xa4,1e-05,7\n'
    pipe.send(pipe.upload(HEAD + rows + b"A,,,\n"))
    assert list(pipe.loaded().values()) == [
        ["A\r\nB", '"x"', "1.50", ""],
        ["1,2", "ä", "1e-05", "7"],
        ["A", "", "", ""],
    ]


def test_columns_of_a_reordered_file_are_put_in_the_models_order(pipe) -> None:
    rows = b'price,change,sector,ticker_symbol\n1,2,S,T\n3,4,"S, U",V\n5,+6,W,X\n'
    pipe.send(pipe.upload(rows))
    assert list(pipe.loaded().values()) == [
        ["T", "S", "2", "1"],
        ["V", "S, U", "4", "3"],
        ["X", "W", "6", "5"],
    ]


def test_a_key_of_blanks_and_other_letters(pipe) -> None:
    upload = pipe.upload(HEAD + GOOD + b"bad\n", name="März 2026 + more/100%.csv")
    pipe.send(upload)
    assert len(pipe.loaded()) == 1
    (rejected,) = pipe.rejected()
    assert (
        rejected["source"] == "s3://input/stream-input-data/stock_price/März 2026 + more/100%.csv"
    )
