"""From a CloudFormation resource's properties to an API operation's members."""

from __future__ import annotations

import secrets
import string
from typing import Any

from local.services.base import Document

_NUMBERS = {"integer": int, "long": int, "float": float, "double": float}


def members(shape: Any, properties: Document) -> Document:
    """Rename properties to the members of a botocore structure, whose types they take.

    CloudFormation writes every name with a capital and lets numbers and booleans be strings.
    Properties without a member of the same name are left out.
    """
    names = {name.lower(): name for name in shape.members}
    return {
        names[key.lower()]: _value(shape.members[names[key.lower()]], value)
        for key, value in properties.items()
        if key.lower() in names
    }


def _value(shape: Any, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        return members(shape, value)
    if kind == "list" and isinstance(value, list):
        return [_value(shape.member, item) for item in value]
    if kind == "map" and isinstance(value, dict):
        return {key: _value(shape.value, item) for key, item in value.items()}
    if kind == "boolean" and isinstance(value, str):
        return value.lower() == "true"
    if kind in _NUMBERS and isinstance(value, str):
        return _NUMBERS[kind](value)
    if kind == "string" and isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


def generated_name(logical_id: str) -> str:
    """A physical name as CloudFormation makes it: the logical id (at most 242) and 12 letters."""
    alphabet = string.ascii_letters + string.digits
    suffix = "".join(secrets.choice(alphabet) for _ in range(12))
    return f"{logical_id[:242]}-{suffix}"
