"""What a field of each column type may hold, so that COPY into Redshift takes every row of ours.

A COPY that meets one bad value loads nothing, so these rules are those that Redshift and the
local warehouse share: no padding, no `1_0`, no `nan` or infinity, integers and floats in range,
text measured in bytes of UTF-8, dates as YYYY-MM-DD, timestamps as YYYY-MM-DD HH:MM:SS with up to
six digits of a second. A leading plus and the T of ISO 8601 are understood and written the way
COPY wants them. An empty field is NULL in every type.

Each type has two forms of the same rule: `fast`, a pattern of bytes that accepts nearly every
good field at the speed of one regular expression for a whole record, and `clean`, exact, for what
the pattern leaves over.
"""

from __future__ import annotations

import re
from datetime import date, datetime

from tidemill.model import ColumnType

_INTEGERS = {"SMALLINT": 16, "INTEGER": 32, "BIGINT": 64}
# Below the smallest normal number precision is lost, and Redshift refuses the value.
_FLOATS = {
    "REAL": (1.17549435e-38, 3.4028234663852886e38),
    "FLOAT": (2.2250738585072014e-308, 1.7976931348623157e308),
}
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?)"
)
_BOOLEANS = frozenset({"true", "false", "t", "f", "yes", "no", "y", "n", "1", "0"})

# Days that every year has; 29 February is left to `clean`.
_FAST_DATE = (
    rb"(?!0000)[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    rb"|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
)
_FAST_TIME = rb"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6}+)?+"
# All of ASCII but NUL, line feed, carriage return, quote and comma.
_FAST_ASCII = rb"\x01-\x09\x0b\x0c\x0e-\x21\x23-\x2b\x2d-\x7f"
_FAST = {
    # So many digits stay in range whatever they are.
    "SMALLINT": rb"-?+[0-9]{1,4}+",
    "INTEGER": rb"-?+[0-9]{1,9}+",
    "BIGINT": rb"-?+[0-9]{1,18}+",
    "REAL": rb"-?+[0-9]{1,18}+\.?+[0-9]{0,18}+",
    # An empty branch costs less than a group that is optional.
    "FLOAT": rb"-?+[0-9]{1,18}+\.?+[0-9]{0,18}+(?:e[+-]?+[0-9]{1,2}+|)",
    "BOOLEAN": rb"(?:true|false|True|False|TRUE|FALSE|[tfTF01](?=[\",\r\n]))",
    "DATE": _FAST_DATE,
    "TIMESTAMP": _FAST_DATE + b" " + _FAST_TIME,
}


class BadValueError(Exception):
    """A field breaks its column's rule; the text says which, to follow the column's name."""


def fast(type_: ColumnType, *, ascii_only: bool, quoted: bool) -> bytes:
    """Return a pattern of bytes that matches only good fields of a type, NULL among them.

    The pattern counts on a delimiter or a line's end behind it. `quoted` admits fields in quotes
    without line breaks; `ascii_only` leaves every other byte to `clean`.
    """
    if type_.kind == "VARCHAR":
        text = _FAST_ASCII if ascii_only else _FAST_ASCII + rb"\x80-\xff"
        length = type_.length or 0
        plain = rb"[%b]{0,%d}+" % (text, length)
        inside = rb"[,%b]{1,%d}+" % (text, length)
    else:
        inside = _FAST[type_.kind]
        # Nothing, but only where a delimiter or a line's end follows.
        plain = rb"(?:%b|(?=[,\r\n]))" % inside
    return rb'(?:%b|"%b")' % (plain, inside) if quoted else plain


def clean(text: str, type_: ColumnType) -> str:
    """Return a field's text as COPY wants it; raise `BadValueError` where it is not of the type."""
    if not text:
        return ""
    kind = type_.kind
    if kind == "VARCHAR":
        return _text(text, type_)
    if kind in _INTEGERS:
        return _integer(text, kind)
    if kind in _FLOATS:
        return _float(text, kind)
    if kind == "BOOLEAN":
        if text.lower() not in _BOOLEANS:
            raise BadValueError("is not a BOOLEAN (true, false, t, f, yes, no, y, n, 1, 0)")
        return text
    return _date(text) if kind == "DATE" else _timestamp(text)


def _text(text: str, type_: ColumnType) -> str:
    if "\0" in text:
        raise BadValueError("holds a NUL character")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise BadValueError("is not UTF-8 text") from None
    if type_.length is not None and size > type_.length:
        raise BadValueError(f"is longer than the {type_.length} bytes of {type_}")
    return text


def _integer(text: str, kind: str) -> str:
    if not _INTEGER.fullmatch(text):
        raise BadValueError(f"is not a whole number ({kind})")
    bound = 1 << (_INTEGERS[kind] - 1)
    if not -bound <= int(text) < bound:
        raise BadValueError(f"is out of the range of {kind}")
    return text.removeprefix("+")


def _float(text: str, kind: str) -> str:
    if not _FLOAT.fullmatch(text):
        raise BadValueError(f"is not a number ({kind})")
    smallest, largest = _FLOATS[kind]
    value = abs(float(text))
    mantissa = text.lower().partition("e")[0]
    is_zero = not mantissa.strip("+-0.")
    if not (is_zero or smallest <= value <= largest):
        raise BadValueError(f"is out of the range of {kind}")
    return text.removeprefix("+")


def _date(text: str) -> str:
    try:
        if _DATE.fullmatch(text):
            date.fromisoformat(text)
            return text
    except ValueError:
        pass
    raise BadValueError("is not a DATE (YYYY-MM-DD)")


def _timestamp(text: str) -> str:
    match = _TIMESTAMP.fullmatch(text)
    try:
        if match and not match[2].startswith("24"):
            datetime.fromisoformat(text)
            return f"{match[1]} {match[2]}"
    except ValueError:
        pass
    raise BadValueError("is not a TIMESTAMP (YYYY-MM-DD HH:MM:SS[.ffffff])")
