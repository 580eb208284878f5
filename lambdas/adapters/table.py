"""A DynamoDB table with the keys `pk` and `sk`, as plain Python values and conditional changes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lambdas.adapters.clients import client

Item = dict[str, Any]
Change = dict[str, Any]
"""One entry of a TransactWriteItems call."""

_ATTEMPTS = 5


class ConditionFailedError(Exception):
    """A condition of a transaction did not hold, so that nothing was written."""


class Table:
    """The table `name`. Numbers come back as Decimal; NaN and infinities are kept as text."""

    def __init__(self, name: str) -> None:
        self._name = name

    def get(self, pk: str, sk: str) -> Item | None:
        """Read one item, consistently; None where there is none."""
        answer = client("dynamodb").get_item(**self._key(pk, sk), ConsistentRead=True)
        item = answer.get("Item")
        if item is None:
            return None
        return {name: _value(attribute) for name, attribute in item.items()}

    def transact(self, *changes: Change) -> None:
        """Make all changes or none.

        Raises ConditionFailedError; conflicts with other transactions are tried again.
        """
        dynamodb = client("dynamodb")
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                dynamodb.transact_write_items(TransactItems=list(changes))
                return
            except dynamodb.exceptions.TransactionCanceledException as error:
                codes = {reason["Code"] for reason in error.response["CancellationReasons"]}
                if "ConditionalCheckFailed" in codes:
                    raise ConditionFailedError(str(error)) from error
                if attempt == _ATTEMPTS:
                    raise
                time.sleep(0.05 * 2**attempt)

    def put(
        self,
        pk: str,
        item: Mapping[str, Any],
        condition: str = "",
        values: Mapping[str, Any] | None = None,
    ) -> Change:
        """Write an item that names its own `sk`."""
        change = {"TableName": self._name, "Item": _attributes({"pk": pk, **item})}
        return {"Put": _on_condition(change, condition, {}, values or {})}

    def delete(self, pk: str, sk: str, condition: str, values: Mapping[str, Any]) -> Change:
        """Remove an item."""
        return {"Delete": _on_condition(self._key(pk, sk), condition, {}, values)}

    def check(self, pk: str, sk: str, condition: str, values: Mapping[str, Any]) -> Change:
        """Change nothing, but hold an item to a condition."""
        return {"ConditionCheck": _on_condition(self._key(pk, sk), condition, {}, values)}

    def add(self, pk: str, sk: str, attribute: str, amount: int, seen: int | None) -> Change:
        """Add to a number that must still be as it was `seen`; None is an item not made yet."""
        change = {**self._key(pk, sk), "UpdateExpression": "ADD #name :amount"}
        values = {":amount": amount, **({} if seen is None else {":seen": seen})}
        condition = "attribute_not_exists(pk)" if seen is None else "#name = :seen"
        return {"Update": _on_condition(change, condition, {"#name": attribute}, values)}

    def set(
        self,
        pk: str,
        sk: str,
        attributes: Mapping[str, Any],
        condition: str = "",
        values: Mapping[str, Any] | None = None,
        *,
        keep: bool = False,
    ) -> Change:
        """Set attributes; with `keep`, only those that the item lacks.

        The condition may name the attributes that are set as `#name`.
        """
        parts = [
            f"#{name} = if_not_exists(#{name}, :{name})" if keep else f"#{name} = :{name}"
            for name in attributes
        ]
        change = {**self._key(pk, sk), "UpdateExpression": "SET " + ", ".join(parts)}
        names = {f"#{name}": name for name in attributes}  # some are reserved words
        given = {f":{name}": value for name, value in attributes.items()}
        return {"Update": _on_condition(change, condition, names, {**given, **(values or {})})}

    def _key(self, pk: str, sk: str) -> dict[str, Any]:
        return {"TableName": self._name, "Key": _attributes({"pk": pk, "sk": sk})}


def _on_condition(
    change: Change, condition: str, names: Mapping[str, str], values: Mapping[str, Any]
) -> Change:
    parts = {
        "ConditionExpression": condition,
        "ExpressionAttributeNames": dict(names),
        "ExpressionAttributeValues": _attributes(values),
    }
    return {**change, **{name: part for name, part in parts.items() if part}}


# boto3 has such a pair in boto3.dynamodb.types, whose import costs more than all the rest.


def _attributes(values: Mapping[str, Any]) -> Item:
    return {name: _attribute(value) for name, value in values.items()}


def _attribute(value: Any) -> dict[str, Any]:
    """Write a value as DynamoDB's JSON wants it."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, float) and not math.isfinite(value):
        return {"S": repr(value)}
    if isinstance(value, int | float | Decimal):
        return {"N": str(value)}
    if isinstance(value, str):
        return {"S": str(value)}
    if isinstance(value, Mapping):
        return {"M": _attributes(value)}
    if isinstance(value, list | tuple):
        return {"L": [_attribute(item) for item in value]}
    raise TypeError(f"the ledger keeps no {type(value).__name__}")


def _value(attribute: Mapping[str, Any]) -> Any:
    """Read what `_attribute` wrote."""
    [(kind, content)] = attribute.items()
    if kind == "NULL":
        return None
    if kind == "N":
        return Decimal(content)
    if kind == "M":
        return {name: _value(item) for name, item in content.items()}
    if kind == "L":
        return [_value(item) for item in content]
    return content
