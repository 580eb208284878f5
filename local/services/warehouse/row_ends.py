"""Line ends in CSV files as Redshift takes them: rows end in LF or CRLF, quotes may hold any.

DuckDB's strict reader takes one kind a file and no other in quotes. Its lenient one takes all of
them, and broken quotes too, so the files that have a carriage return are changed instead: their
rows end in LF, and `HIDDEN` stands for a carriage return in quotes until the fields are read.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

HIDDEN = "\ufdd0"
"""A code point that Unicode keeps for the inside of programs, and that Redshift refuses."""
_CHUNK = 1 << 20
_OPENERS: dict[str, Callable[..., Any]] = {
    "gzip": partial(gzip.open, compresslevel=1),
    "none": open,
}


def unify(path: Path, compression: str, quote: str) -> None:
    """End the rows of a file in LF and hide the carriage returns in quotes.

    A file that cannot be read is left for COPY to refuse, and so is one in zstd, which Python
    does not read: with different line ends in it, it fails to load.
    """
    opener = _OPENERS.get(compression)
    if opener is None:
        return
    fresh = path.with_suffix(".new")
    try:
        with opener(path, "rb") as source:
            if not any(b"\r" in chunk for chunk in iter(partial(source.read, _CHUNK), b"")):
                return
        with opener(path, "rb") as source, opener(fresh, "wb") as target:
            _copy(source, target, quote.encode())
    except (OSError, EOFError):  # not gzip, or cut short
        fresh.unlink(missing_ok=True)
        return
    fresh.replace(path)


def _copy(source: IO[bytes], target: IO[bytes], quote: bytes) -> None:
    inside = False
    kept = b""
    while chunk := source.read(_CHUNK):
        chunk = kept + chunk
        kept = b"\r" if chunk.endswith(b"\r") else b""  # its line feed may come next
        pieces = chunk.removesuffix(kept).split(quote)
        for number, piece in enumerate(pieces):
            # A doubled quote ends the quotes and begins them again, with nothing in between.
            if number:
                inside = not inside
            pieces[number] = (
                piece.replace(b"\r", HIDDEN.encode()) if inside else piece.replace(b"\r\n", b"\n")
            )
        target.write(quote.join(pieces))
    target.write(kept)
