"""The names of tables as statements write them."""

from __future__ import annotations

from dataclasses import dataclass

from local.services.warehouse.errors import WarehouseError
from local.services.warehouse.lexer import Cursor


@dataclass(frozen=True)
class TableName:
    """A table as it is written; `schema` is None where the search path decides."""

    schema: str | None
    name: str


def table_name(cursor: Cursor) -> TableName:
    """A table's name with an optional schema (and the database before it, which is dropped)."""
    parts = [cursor.name()]
    while cursor.skip("."):
        parts.append(cursor.name())
    if len(parts) > 3:
        raise WarehouseError(f"improper qualified name: {'.'.join(parts)}")
    return TableName(parts[-2] if len(parts) > 1 else None, parts[-1])
