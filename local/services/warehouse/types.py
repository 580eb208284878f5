"""Column types: Redshift's names, DuckDB's, and the rules by which COPY reads their text."""

from __future__ import annotations

from dataclasses import dataclass

from local.services.warehouse.errors import WarehouseError
from local.services.warehouse.lexer import Cursor

NUMBER = r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?"
_DATE = r"\d{4}-\d{2}-\d{2}"
_TIME = r"\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?"

_PATTERNS = {
    "SMALLINT": r"[+-]?\d+",
    "INTEGER": r"[+-]?\d+",
    "BIGINT": r"[+-]?\d+",
    "REAL": NUMBER,
    "DOUBLE": NUMBER,
    "DECIMAL": r"[+-]?(\d+(\.\d*)?|\.\d+)",
    "BOOLEAN": r"(?i:t|true|y|yes|1|f|false|n|no|0)",
    "DATE": _DATE,
    "TIME": _TIME,
    "TIMESTAMP": rf"{_DATE}( {_TIME})?",
    "TIMESTAMPTZ": rf"{_DATE}( {_TIME}([+-]\d{{2}}(:?\d{{2}})?|Z| UTC)?)?",
}

_AUTO_TIMESTAMP = rf"{_DATE}([ T]{_TIME}([+-]\d{{2}}(:?\d{{2}})?|Z)?)?"

# Redshift's messages and codes of load errors.
_ERRORS = {
    "SMALLINT": (1207, "Invalid digit, Value '{value}', Pos 0, Type: Short"),
    "INTEGER": (1207, "Invalid digit, Value '{value}', Pos 0, Type: Integer"),
    "BIGINT": (1207, "Invalid digit, Value '{value}', Pos 0, Type: Long"),
    "REAL": (1207, "Invalid digit, Value '{value}', Pos 0, Type: Float"),
    "DOUBLE": (1207, "Invalid digit, Value '{value}', Pos 0, Type: Double"),
    "DECIMAL": (1207, "Invalid digit, Value '{value}', Pos 0, Type: Decimal"),
    "BOOLEAN": (1210, "Unknown boolean format"),
    "DATE": (1205, "Invalid Date Format - length must be 10 or more"),
    "TIME": (1206, "Invalid time format"),
    "TIMESTAMP": (1206, "Invalid timestamp format or value [YYYY-MM-DD HH24:MI:SS]"),
    "TIMESTAMPTZ": (1206, "Invalid timestamp format or value [YYYY-MM-DD HH24:MI:SSOF]"),
}


@dataclass(frozen=True)
class ColumnType:
    """A column's type.

    `name` is Redshift's long name, `short` the name in result metadata, `physical` DuckDB's
    type; `length` is in bytes for text, and the precision for numbers with a `scale`.
    """

    name: str
    short: str
    physical: str
    length: int | None = None
    scale: int | None = None

    @property
    def is_text(self) -> bool:
        """Whether values are text of a bounded length in bytes."""
        return self.physical == "VARCHAR" and self.length is not None

    @property
    def storage(self) -> str:
        """The type as DuckDB's DDL has it."""
        if self.physical == "DECIMAL":
            return f"DECIMAL({self.length},{self.scale})"
        return self.physical

    @property
    def label(self) -> str:
        """The type as Redshift writes it, `character varying(8)`."""
        if self.physical == "DECIMAL":
            return f"numeric({self.length},{self.scale})"
        return f"{self.name}({self.length})" if self.length is not None else self.name

    def pattern(self, *, lenient_time: bool) -> str | None:
        """The regular expression that COPY asks of a value's text; None for text itself."""
        if lenient_time and self.physical in ("TIMESTAMP", "TIMESTAMPTZ"):
            return _AUTO_TIMESTAMP
        return _PATTERNS.get(self.physical)

    def load_error(self, value: str) -> tuple[int, str]:
        """Redshift's code and message for a value that COPY cannot read."""
        code, text = _ERRORS.get(self.physical, (1213, "Missing data for not-null field"))
        return code, text.format(value=value[:100])


_SIMPLE = {
    "SMALLINT": ("smallint", "int2", "SMALLINT"),
    "INT2": ("smallint", "int2", "SMALLINT"),
    "INTEGER": ("integer", "int4", "INTEGER"),
    "INT": ("integer", "int4", "INTEGER"),
    "INT4": ("integer", "int4", "INTEGER"),
    "BIGINT": ("bigint", "int8", "BIGINT"),
    "INT8": ("bigint", "int8", "BIGINT"),
    "REAL": ("real", "float4", "REAL"),
    "FLOAT4": ("real", "float4", "REAL"),
    "FLOAT": ("double precision", "float8", "DOUBLE"),
    "FLOAT8": ("double precision", "float8", "DOUBLE"),
    "DOUBLE": ("double precision", "float8", "DOUBLE"),
    "BOOLEAN": ("boolean", "bool", "BOOLEAN"),
    "BOOL": ("boolean", "bool", "BOOLEAN"),
    "DATE": ("date", "date", "DATE"),
    "TIME": ("time without time zone", "time", "TIME"),
    "TIMESTAMP": ("timestamp without time zone", "timestamp", "TIMESTAMP"),
    "TIMESTAMPTZ": ("timestamp with time zone", "timestamptz", "TIMESTAMPTZ"),
    "SUPER": ("super", "super", "JSON"),
}
_TEXT = {
    "VARCHAR": ("character varying", "varchar", 256),
    "NVARCHAR": ("character varying", "varchar", 256),
    "TEXT": ("character varying", "varchar", 256),
    "CHAR": ("character", "bpchar", 1),
    "CHARACTER": ("character", "bpchar", 1),
    "NCHAR": ("character", "bpchar", 1),
    "BPCHAR": ("character", "bpchar", 256),
}
LONGEST_TEXT = {"varchar": 65535, "bpchar": 4096}

# From DuckDB's types of results to Redshift's short names; whole numbers that DuckDB widens to
# 128 bits are what Redshift has as numeric(38,0).
RESULT_TYPES = {
    "TINYINT": ("int2", 5),
    "SMALLINT": ("int2", 5),
    "INTEGER": ("int4", 10),
    "BIGINT": ("int8", 19),
    "HUGEINT": ("numeric", 38),
    "FLOAT": ("float4", 8),
    "DOUBLE": ("float8", 17),
    "BOOLEAN": ("bool", 1),
    "VARCHAR": ("varchar", 65535),
    "DATE": ("date", 13),
    "TIME": ("time", 15),
    "TIMESTAMP": ("timestamp", 29),
    "TIMESTAMP WITH TIME ZONE": ("timestamptz", 35),
    "BLOB": ("varbyte", 64000),
}


def parse_type(cursor: Cursor) -> ColumnType:
    """Read a type at the cursor. Raises `WarehouseError` for one that Redshift has not."""
    written = cursor.name()
    word = written.upper()
    if word in ("NUMERIC", "DECIMAL"):
        return _numeric(cursor)
    if word in _TEXT:
        return _text(word, cursor)
    if word not in _SIMPLE:
        raise WarehouseError(f'type "{written}" does not exist')
    if word == "DOUBLE":
        cursor.expect("PRECISION")
    if word == "FLOAT" and cursor.skip("("):
        word = "FLOAT4" if cursor.integer() <= 24 else "FLOAT8"
        cursor.expect(")")
    if cursor.skip("WITH", "TIME", "ZONE"):
        word = f"{word}TZ"
        if word not in _SIMPLE:
            raise WarehouseError('type "timetz" is not carried by the local warehouse')
    else:
        cursor.skip("WITHOUT", "TIME", "ZONE")
    return ColumnType(*_SIMPLE[word])


def _numeric(cursor: Cursor) -> ColumnType:
    precision, scale = 18, 0
    if cursor.skip("("):
        precision = cursor.integer()
        if cursor.skip(","):
            scale = cursor.integer()
        cursor.expect(")")
    if not 1 <= precision <= 38 or scale > min(precision, 37):
        raise WarehouseError(f"NUMERIC precision {precision} must be between 1 and 38")
    return ColumnType("numeric", "numeric", "DECIMAL", precision, scale)


def _text(word: str, cursor: Cursor) -> ColumnType:
    if word in ("CHAR", "CHARACTER") and cursor.skip("VARYING"):
        word = "VARCHAR"
    name, short, length = _TEXT[word]
    if cursor.skip("("):
        length = LONGEST_TEXT[short] if cursor.skip("MAX") else cursor.integer()
        cursor.expect(")")
    if length < 1:
        raise WarehouseError(f"length for type {short} must be at least 1")
    if length > LONGEST_TEXT[short]:
        raise WarehouseError(f"length for type {short} cannot exceed {LONGEST_TEXT[short]}")
    return ColumnType(name, short, "VARCHAR", length)
