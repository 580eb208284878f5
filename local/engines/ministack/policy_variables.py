"""Policy variables: MiniStack compares `${aws:userid}` in a condition as the text it is."""

from __future__ import annotations

import re
from typing import Any

from ministack.core import iam_evaluator

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_LITERALS = {"*": "*", "?": "?", "$": "$"}


class _UnknownVariableError(Exception):
    """A variable has no value in this request."""


def install() -> None:
    """Let every condition be met with its variables replaced by the request's values."""
    theirs = iam_evaluator._conditions_met

    def conditions_met(conditions: dict[str, Any], ctx: Any) -> bool:
        try:
            return bool(theirs(_replaced(conditions, ctx), ctx))
        except _UnknownVariableError:
            # As on AWS, where a value without its variable equals nothing.
            return False

    iam_evaluator._conditions_met = conditions_met


def _replaced(value: Any, ctx: Any) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item, ctx) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, ctx) for item in value]
    if not isinstance(value, str):
        return value

    def lookup(match: re.Match[str]) -> str:
        name, _, default = match[1].partition(",")
        found = _LITERALS.get(name) or iam_evaluator._resolve_condition_key(name.strip(), ctx)
        if found is None and default:
            return default.strip().strip("'")
        if found is None or isinstance(found, list):
            raise _UnknownVariableError(name)
        return str(found)

    return _VARIABLE.sub(lookup, value)
