"""Where rows end: the pieces of a file, of its ranges and of its records agree."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill import upload
from tidemill.csv_scan import pieces, row_end
from tidemill.envelope import Source, decode
from tidemill.model import load_models
from tidemill.records import StreamRecord, Transformer
from tidemill.upload import Position, advance

MODELS = load_models(Path(__file__).resolve().parents[3] / "models")
MODEL = MODELS["stock_price"]
HEAD = b"ticker_symbol,sector,change,price\n"
ROOM = 40

raw = st.text(alphabet='ab,"\r\n1.', max_size=200).map(str.encode)
fields = st.text(alphabet='ab,"\r\n é', max_size=8)
rows = st.lists(st.lists(fields, min_size=2, max_size=4), max_size=12)


def whole(data: bytes) -> list[bytes]:
    found, position = [], 0
    while position < len(data):
        end = row_end(data, position, ROOM, final=True)
        if end == position:
            end = data.index(b"\n", position) + 1
        found.append(data[position:end])
        position = end
    return found


@given(data=raw)
def test_pieces_are_whole_rows_and_count_them(data: bytes) -> None:
    data += b"\n"
    expected = whole(data)
    found = list(pieces(data, 0, ROOM, final=True))
    assert b"".join(data[p.start : p.end] for p in found) == data
    assert sum(p.rows for p in found) == sum(row not in (b"\n", b"\r\n") for row in expected)
    assert sum(p.lines for p in found) == data.count(b"\n")
    for piece in found:
        assert piece.too_long == (piece.end - piece.start > ROOM)
        if not piece.too_long:
            assert b"".join(whole(data[piece.start : piece.end])) == data[piece.start : piece.end]
            assert all(row in expected for row in whole(data[piece.start : piece.end]))


@given(data=raw, step=st.integers(ROOM + 1, 90))
def test_ranges_cut_the_same_rows(data: bytes, step: int) -> None:
    """What a step does at a range's end is what it would do in the whole file."""
    data += b"\n"
    expected = [p.end for p in pieces(data, 0, ROOM, final=True)]
    position, ends = 0, []
    while position < len(data):
        block = data[position : position + step]
        final = position + len(block) >= len(data)
        found = list(pieces(block, 0, ROOM, final))
        assert found, "no progress"
        ends += [position + min(p.end, len(block)) for p in found]
        if found[-1].end > len(block):  # a row that is too long is skipped to its end
            ends[-1] = data.index(b"\n", position + len(block)) + 1
        position = ends[-1]
    boundaries, at = {0}, 0
    for row in whole(data):
        at += len(row)
        boundaries.add(at)
    assert set(ends) <= boundaries
    assert ends[-1] == expected[-1]


@given(table=rows, terminator=st.sampled_from(["\n", "\r\n"]))
def test_what_python_writes_is_read_row_by_row(table: list[list[str]], terminator: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=terminator, quoting=csv.QUOTE_ALL)
    ends = []
    for row in table:
        writer.writerow(row)
        ends.append(len(text.getvalue().encode()))
    data, position, found = text.getvalue().encode(), 0, []
    while position < len(data):
        position = row_end(data, position, len(data), final=True)
        found.append(position)
    assert found == ends


good_texts = st.text(alphabet='AB",\n é', max_size=6).filter(lambda t: len(t.encode()) <= 8)
good_rows = st.tuples(
    good_texts,
    good_texts,
    st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
    st.integers(-(10**6), 10**6),
)
bad_lines = st.sampled_from(["A,B", "A,B,x,1", 'A"B,C,1,1', "A,B,1,nan", "A,B,1,1,1", "A\0,B,1,1"])


@given(
    table=st.lists(st.one_of(good_rows, bad_lines), max_size=30),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    step=st.integers(300, 600),
)
def test_rows_sent_are_rows_loaded_and_rejected(
    table: list[tuple[str, str, float, int] | str], quoting: int, step: int
) -> None:
    """The law, through the whole domain: any ranges, any quoting, values as they were."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=quoting)  # type: ignore[arg-type]  # one of its constants
    for row in table:
        if isinstance(row, str):
            text.write(row + "\n")
        else:
            writer.writerow(row)
    data = HEAD + text.getvalue().encode()
    position = Position(Source("stock_price", "b", "k", "v"), len(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload, "rows_room", lambda *_: 200)
        records = []
        while not position.done:
            done = advance(position, data[position.offset : position.offset + step], MODEL)
            records += done.records
            assert not done.rejections
            position = done.next
    loaded, rejected, ids = [], 0, set()
    for record in records:
        assert decode(record.data)[0].source == position.source
        result = Transformer(MODELS).transform(
            StreamRecord(record.data, record.partition_key, "s", "0", "1")
        )
        rejected += result.rejection.rows if result.rejection else 0
        for row in csv.reader(io.StringIO(result.lines.decode(), newline=""), strict=True):
            ids.add(row[0])
            loaded.append((row[2], row[3], float(row[4]), int(row[5])))
    good = [row for row in table if not isinstance(row, str)]
    assert loaded == good
    assert len(ids) == len(good)
    assert position.rows == len(table) == len(loaded) + rejected
