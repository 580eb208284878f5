"""Rows sent = rows loaded + rows rejected, for every kind of file that people upload."""

# a table reads best with a case a line
from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.generate_data import BAD_ROWS

PROJECT = Path(__file__).resolve().parents[3]
HEAD = b"ticker_symbol,sector,change,price\n"
GOOD = b"AZLA,TECHNOLOGY,0.5,120.5\n"
TAIL = b"ECHO,TELECOM,-1.5,80\n"


@dataclass(frozen=True)
class Case:
    """Rows between two good ones: how many of all are loaded, and why the others are not."""

    name: str
    data: bytes
    loaded: int
    reasons: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()


def between(
    name: str, rows: bytes, loaded: int, *reasons: str, lines: tuple[int, ...] = ()
) -> Case:
    return Case(name, HEAD + GOOD + rows + TAIL, 2 + loaded, reasons, lines)


NOT_CLOSED = "the row has a quote inside an unquoted field, or one that is not closed"
TOO_LONG = "the row is longer than the 250000 bytes that a record has room for"
NUMBER = "is not a number (FLOAT)"

ROWS = [
    between("missing column", b"AZLA,TECHNOLOGY,0.5\n", 0, "the row has 3 fields instead of 4"),
    between("extra column", b"AZLA,TECHNOLOGY,0.5,1,2\n", 0, "the row has 5 fields instead of 4"),
    between("a text for a number", b"AZLA,TECHNOLOGY,much,1\n", 0, f"change {NUMBER}"),
    between("NaN", b"AZLA,TECHNOLOGY,1,NaN\n", 0, f"price {NUMBER}"),
    between(
        "infinities", b"A,B,inf,1\nA,B,1,-Infinity\n", 0, f"change {NUMBER}", f"price {NUMBER}"
    ),
    between("an infinite exponent", b"A,B,1e999,1\n", 0, "change is out of the range of FLOAT"),
    between("a vanishing exponent", b"A,B,1e-999,1\n", 0, "change is out of the range of FLOAT"),
    between("what Python alone reads", b"A,B,1_0,1\n", 0, f"change {NUMBER}"),
    between("padding", b"A,B, 1,1\nA,B,1,1 \n", 0, f"change {NUMBER}", f"price {NUMBER}"),
    between("digits of another script", "A,B,٣,1\n".encode(), 0, f"change {NUMBER}"),
    between("a hexadecimal number", b"A,B,0x10,1\n", 0, f"change {NUMBER}"),
    between("a decimal comma", b'A,B,"1,5",1\n', 0, f"change {NUMBER}"),
    between(
        "an overlong text",
        b"ABCDEFGHI,B,1,1\n",
        0,
        "ticker_symbol is longer than the 8 bytes of VARCHAR(8)",
        lines=(3,),
    ),
    between(
        "eight letters of nine bytes",
        "ABCDEFGÄ,B,1,1\n".encode(),
        0,
        "ticker_symbol is longer than the 8 bytes of VARCHAR(8)",
    ),
    between("eight bytes of seven letters", "ABCDEFÄ,B,1,1\n".encode(), 1),
    between(
        "bad UTF-8", b"A\xff,B,1,1\nA\xc3\xa4,B,1,1\n", 1, "the row is not UTF-8 text", lines=(3,)
    ),
    between("a NUL byte", b"A\0,B,1,1\n", 0, "the row holds a NUL byte"),
    between(
        "a carriage return", b"A,B\rC,1,1\n", 0, "the row holds a carriage return outside quotes"
    ),
    between(
        "an embedded newline",
        b'"A\nB","C\r\n\r\nD",1,1\nX,B,x,1\n',
        1,
        f"change {NUMBER}",
        lines=(7,),
    ),
    between("embedded quotes", b'"A""B","""",1,1\n"",B,"1","2"\n', 2),
    between("an embedded comma", b'"A,B","C,D",1,1\n', 1),
    between("a quote within a field", b'A"B,C,1,1\nA,B,5"6,1\n', 0, NOT_CLOSED, NOT_CLOSED),
    between("text behind a quote", b'"A"B,C,1,1\n', 0, NOT_CLOSED),
    between("a quote that is not closed", b'"A,B,1,1\nA,B,1,1\n', 1, NOT_CLOSED, lines=(3,)),
    between("a quote closed in another row", b'"A,B,1,1\nA,"B",1,1\n', 1, NOT_CLOSED),
    between("empty fields", b",,,\n", 1),
    between("blank lines", b"\n\r\n\n", 0),
    between("blanks alone", b"   \n", 0, "the row has 1 fields instead of 4"),
    between("unusual numbers", b"A,B,+1.5,.5\nA,B,-0,1.\nA,B,1E+5,00012\n", 3),
    between("a line of 10 MB", b"A,B,1," + b"1" * 10_000_000 + b"\n", 0, TOO_LONG, lines=(3,)),
    between(
        "a quoted field of 1 MB",
        b'"' + b"A\n" * 3 + b"A" * 1_000_000 + b'",B,1,1\n',
        0,
        NOT_CLOSED,
        "the row has 1 fields instead of 4",
        "the row has 1 fields instead of 4",
        TOO_LONG,
    ),
    Case("the sample", (PROJECT / "samples/stock_price.csv").read_bytes(), 10),
    Case("a byte-order mark", b"\xef\xbb\xbf" + HEAD + GOOD, 1),
    Case("CRLF", (HEAD + GOOD + b'"A\nB",C,1,1\n' + TAIL).replace(b"\n", b"\r\n"), 3),
    Case("no last line feed", HEAD + GOOD + TAIL.rstrip(), 2),
    Case(
        "a bad last row without a line feed",
        HEAD + GOOD + b"A,B",
        1,
        ("the row has 2 fields instead of 4",),
    ),
    Case("an open quote at the end", HEAD + GOOD + b'"A,B,1,1', 1, (NOT_CLOSED,)),
    Case("the header alone", HEAD, 0),
    Case("the header without a line feed", HEAD.rstrip(), 0),
    Case(
        "a reordered header",
        b'price,"change", Sector ,TICKER_SYMBOL\n1,2,"S, T",T\n3,4,x,x,x\n',
        1,
        ("the row has 5 fields instead of 4",),
    ),
]

FILES = {
    "empty file": (b"", "the file is empty"),
    "blank file": (b"\r\n  \n", "the file is empty"),
    "wrong header": (b"a,b\n1,2\n", "lacks: 'ticker_symbol', 'sector', 'change', 'price'"),
    "a column missing": (b"ticker_symbol,sector,change\nA,B,1\n", "lacks: 'price'"),
    "a column twice": (
        b"ticker_symbol,sector,change,price,price\nA,B,1,1,1\n",
        "names a column twice: 'price'",
    ),
    "an unknown column": (
        b"ticker_symbol,sector,change,price,volume\nA,B,1,1,1\n",
        "has an unknown column: 'volume'",
    ),
    "no header": (GOOD + TAIL, "lacks: 'ticker_symbol'"),
    "gzip": (gzip.compress(HEAD + GOOD), "compressed by gzip"),
    "a spreadsheet": (b"PK\x03\x04" + bytes(500), "is a ZIP archive or a spreadsheet"),
    "Parquet": (b"PAR1" + bytes(500) + b"PAR1", "is a Parquet file"),
    "UTF-16": ((HEAD + GOOD).decode().encode("utf-16"), "is UTF-16 text"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(128, 256)), "is not a CSV"),
    "NUL bytes": (bytes(5000) + b"\n", "its header holds NUL bytes"),
    "carriage returns alone": ((HEAD + GOOD).replace(b"\n", b"\r"), "carriage returns alone"),
    "an open quote in the header": (b'"ticker_symbol,sector\n' + GOOD, "are not closed"),
    "a header of 10 MB": (b"x" * 10_000_000 + b"\n" + GOOD, "has no header line"),
    "JSON": (b'{"ticker_symbol": "A"}\n', "not closed"),
}


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_good_neighbours_load_and_bad_rows_say_why(pipe, case: Case) -> None:
    upload = pipe.upload(case.data)
    pipe.send(upload)
    loaded, rejected = pipe.loaded(), pipe.rejected(f"rejected/stock_price/{upload.id}/")
    item = pipe.item(upload)
    assert item["state"] == "sent"
    assert item["rows_sent"] == len(loaded) + len(rejected)
    assert len(loaded) == case.loaded
    assert sorted(row["reason"] for row in rejected) == sorted(case.reasons)
    assert all(row["source"] == f"s3://input/{upload.key}" for row in rejected)
    assert all(row["version_id"] == upload.version_id for row in rejected)
    if case.lines:
        assert sorted(row["line"] for row in rejected) == sorted(case.lines)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_csv_of_the_model_is_refused_as_a_whole(pipe, name: str) -> None:
    data, reason = FILES[name]
    upload = pipe.upload(data)
    pipe.send(upload)
    assert pipe.loaded() == {}
    (rejected,) = pipe.rejected()
    item = pipe.item(upload)
    assert item["state"] == "refused"
    assert item["rows_sent"] == 0
    assert reason in item["reason"]
    assert item["reason"] == rejected["reason"]
    assert rejected["line"] == 1
    assert not rejected["counts"]
    assert rejected["key"] == f"rejected/stock_price/{upload.id}/{0:016d}-0.jsonl"


@pytest.mark.parametrize("model", ["nonesuch", "", "stock_price.csv"])
def test_a_file_for_no_model_is_refused(pipe, model: str) -> None:
    upload = pipe.upload(HEAD + GOOD, model=model)
    pipe.send(upload)
    (rejected,) = pipe.rejected()
    assert rejected["key"].startswith(f"rejected/_unknown/{upload.id}/")
    assert "names no model" in pipe.item(upload)["reason"]
    assert "stock_price" in rejected["reason"]


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
