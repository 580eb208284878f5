"""Every kind of bad CSV that people upload for the model stock_price, and what becomes of it."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]

Row = tuple[str | None, str | None, float | None, float | None]

HEAD = b"ticker_symbol,sector,change,price\n"
GOOD = b"AZLA,TECHNOLOGY,0.5,120.5\n"
TAIL = b"ECHO,TELECOM,-1.5,80\n"
GOOD_ROW: Row = ("AZLA", "TECHNOLOGY", 0.5, 120.5)
TAIL_ROW: Row = ("ECHO", "TELECOM", -1.5, 80.0)
AB_ROW: Row = ("A", "B", 1.0, 1.0)


@dataclass(frozen=True)
class Case:
    """A file: the rows that the warehouse gets, and why the others are rejected."""

    name: str
    data: bytes
    loaded: tuple[Row, ...]
    reasons: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()
    """Where the rejected rows begin; not told of every file."""


@dataclass(frozen=True)
class Refusal:
    """A file that is refused as a whole, and a part of the reason."""

    name: str
    data: bytes
    reason: str
    model: str = "stock_price"


def between(
    name: str,
    rows: bytes,
    *reasons: str,
    loaded: tuple[Row, ...] = (),
    lines: tuple[int, ...] = (),
) -> Case:
    """Rows between two good neighbours: those of them that are loaded, and what the rest are."""
    return Case(name, HEAD + GOOD + rows + TAIL, (GOOD_ROW, *loaded, TAIL_ROW), reasons, lines)


NOT_CLOSED = "the row has a quote inside an unquoted field, or one that is not closed"
TOO_LONG = "the row is longer than the 250000 bytes that a record has room for"
NUMBER = "is not a number (FLOAT)"
RANGE = "is out of the range of FLOAT"
FIELDS = "the row has %d fields instead of 4"
TICKER = "ticker_symbol is longer than the 8 bytes of VARCHAR(8)"

SAMPLE = PROJECT / "samples" / "stock_price.csv"


def _sample() -> Case:
    data = SAMPLE.read_bytes()
    rows = [line.split(",") for line in data.decode().splitlines()[1:]]
    loaded = tuple((ticker, sector, float(a), float(b)) for ticker, sector, a, b in rows)
    return Case("the sample", data, loaded)


CASES = [
    between("missing column", b"AZLA,TECHNOLOGY,0.5\n", FIELDS % 3, lines=(3,)),
    between("extra column", b"AZLA,TECHNOLOGY,0.5,1,2\n", FIELDS % 5, lines=(3,)),
    between("a text for a number", b"AZLA,TECHNOLOGY,much,1\n", f"change {NUMBER}"),
    between("NaN", b"AZLA,TECHNOLOGY,1,NaN\n", f"price {NUMBER}"),
    between("infinities", b"A,B,inf,1\nA,B,1,-Infinity\n", f"change {NUMBER}", f"price {NUMBER}"),
    between("an infinite exponent", b"A,B,1e999,1\n", f"change {RANGE}"),
    between("a vanishing exponent", b"A,B,1e-999,1\n", f"change {RANGE}"),
    between("what Python alone reads", b"A,B,1_0,1\n", f"change {NUMBER}"),
    between("padding", b"A,B, 1,1\nA,B,1,1 \n", f"change {NUMBER}", f"price {NUMBER}"),
    between("digits of another script", "A,B,٣,1\n".encode(), f"change {NUMBER}"),
    between("a hexadecimal number", b"A,B,0x10,1\n", f"change {NUMBER}"),
    between("a decimal comma", b'A,B,"1,5",1\n', f"change {NUMBER}"),
    between("an overlong text", b"ABCDEFGHI,B,1,1\n", TICKER, lines=(3,)),
    between("eight letters of nine bytes", "ABCDEFGÄ,B,1,1\n".encode(), TICKER),
    between(
        "eight bytes of seven letters",
        "ABCDEFÄ,B,1,1\n".encode(),
        loaded=(("ABCDEFÄ", "B", 1.0, 1.0),),
    ),
    between(
        "bad UTF-8",
        b"A\xff,B,1,1\nA\xc3\xa4,B,1,1\n",
        "the row is not UTF-8 text",
        loaded=(("Aä", "B", 1.0, 1.0),),
        lines=(3,),
    ),
    between("a NUL byte", b"A\0,B,1,1\n", "the row holds a NUL byte"),
    between("a carriage return", b"A,B\rC,1,1\n", "the row holds a carriage return outside quotes"),
    between(
        "an embedded newline",
        b'"A\nB","C\r\n\r\nD",1,1\nX,B,x,1\n',
        f"change {NUMBER}",
        loaded=(("A\nB", "C\r\n\r\nD", 1.0, 1.0),),
        lines=(7,),
    ),
    between(
        "embedded quotes",
        b'"A""B","""",1,1\n"",B,"1","2"\n',
        loaded=(('A"B', '"', 1.0, 1.0), (None, "B", 1.0, 2.0)),
    ),
    between("an embedded comma", b'"A,B","C,D",1,1\n', loaded=(("A,B", "C,D", 1.0, 1.0),)),
    between("a quote within a field", b'A"B,C,1,1\nA,B,5"6,1\n', NOT_CLOSED, NOT_CLOSED),
    between("text behind a quote", b'"A"B,C,1,1\n', NOT_CLOSED),
    between(
        "a quote that is not closed",
        b'"A,B,1,1\nA,B,1,1\n',
        NOT_CLOSED,
        loaded=(AB_ROW,),
        lines=(3,),
    ),
    between(
        "a quote closed in another row", b'"A,B,1,1\nA,"B",1,1\n', NOT_CLOSED, loaded=(AB_ROW,)
    ),
    between("empty fields", b",,,\n", loaded=((None, None, None, None),)),
    between("blank lines", b"\n\r\n\n"),
    between("blanks alone", b"   \n", FIELDS % 1),
    between(
        "unusual numbers",
        b"A,B,+1.5,.5\nA,B,-0,1.\nA,B,1E+5,00012\n",
        loaded=(("A", "B", 1.5, 0.5), ("A", "B", 0.0, 1.0), ("A", "B", 1e5, 12.0)),
    ),
    between("a line of 10 MB", b"A,B,1," + b"1" * 10_000_000 + b"\n", TOO_LONG, lines=(3,)),
    between(
        "a quoted field of 1 MB",
        b'"' + b"A\n" * 3 + b"A" * 1_000_000 + b'",B,1,1\n',
        NOT_CLOSED,
        FIELDS % 1,
        FIELDS % 1,
        TOO_LONG,
        lines=(3, 4, 5, 6),
    ),
    _sample(),
    Case("a byte-order mark", b"\xef\xbb\xbf" + HEAD + GOOD, (GOOD_ROW,)),
    Case(
        "CRLF",
        (HEAD + GOOD + b'"A\nB",C,1,1\n' + TAIL).replace(b"\n", b"\r\n"),
        (GOOD_ROW, ("A\r\nB", "C", 1.0, 1.0), TAIL_ROW),
    ),
    Case("no last line feed", HEAD + GOOD + TAIL.rstrip(), (GOOD_ROW, TAIL_ROW)),
    Case(
        "a bad last row without a line feed",
        HEAD + GOOD + b"A,B",
        (GOOD_ROW,),
        (FIELDS % 2,),
        (3,),
    ),
    Case("an open quote at the end", HEAD + GOOD + b'"A,B,1,1', (GOOD_ROW,), (NOT_CLOSED,), (3,)),
    Case("the header alone", HEAD, ()),
    Case("the header without a line feed", HEAD.rstrip(), ()),
    Case(
        "a reordered header",
        b'price,"change", Sector ,TICKER_SYMBOL\n1,2,"S, T",T\n3,4,x,x,x\n',
        (("T", "S, T", 2.0, 1.0),),
        (FIELDS % 5,),
        (3,),
    ),
]

REFUSALS = [
    Refusal("empty file", b"", "the file is empty"),
    Refusal("blank file", b"\r\n  \n", "the file is empty"),
    Refusal("wrong header", b"a,b\n1,2\n", "lacks: 'ticker_symbol', 'sector', 'change', 'price'"),
    Refusal("a column missing", b"ticker_symbol,sector,change\nA,B,1\n", "lacks: 'price'"),
    Refusal(
        "a column twice",
        b"ticker_symbol,sector,change,price,price\nA,B,1,1,1\n",
        "names a column twice: 'price'",
    ),
    Refusal(
        "an unknown column",
        b"ticker_symbol,sector,change,price,volume\nA,B,1,1,1\n",
        "has an unknown column: 'volume'",
    ),
    Refusal("no header", GOOD + TAIL, "lacks: 'ticker_symbol'"),
    Refusal("gzip", gzip.compress(HEAD + GOOD), "compressed by gzip"),
    Refusal("a spreadsheet", b"PK\x03\x04" + bytes(500), "is a ZIP archive or a spreadsheet"),
    Refusal("Parquet", b"PAR1" + bytes(500) + b"PAR1", "is a Parquet file"),
    Refusal("UTF-16", (HEAD + GOOD).decode().encode("utf-16"), "is UTF-16 text"),
    Refusal("a picture", b"\x89PNG\r\n\x1a\n" + bytes(range(128, 256)), "is not a CSV"),
    Refusal("NUL bytes", bytes(5000) + b"\n", "its header holds NUL bytes"),
    Refusal(
        "carriage returns alone", (HEAD + GOOD).replace(b"\n", b"\r"), "carriage returns alone"
    ),
    Refusal("an open quote in the header", b'"ticker_symbol,sector\n' + GOOD, "are not closed"),
    Refusal("a header of 10 MB", b"x" * 10_000_000 + b"\n" + GOOD, "has no header line"),
    Refusal("JSON", b'{"ticker_symbol": "A"}\n', "not closed"),
    Refusal("an unknown model", HEAD + GOOD, "names no model", model="nonesuch"),
    Refusal("no model", HEAD + GOOD, "names no model", model=""),
    Refusal("a file's name for a model", HEAD + GOOD, "names no model", model="stock_price.csv"),
]
