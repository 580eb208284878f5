"""Features: how a row becomes numbers, the same in training, evaluation and serving.

Every feature is one 64-bit float: numbers as they are, booleans 0 and 1, dates as days and
timestamps as seconds since 1970-01-01, categories by their place in a dictionary that training
made. What is null, and a category that training never saw, is NaN: the trees have a learned way
for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

NAN: Final = math.nan
NUMBER_KINDS: Final = frozenset({"SMALLINT", "INTEGER", "BIGINT", "REAL", "FLOAT"})
MAX_CATEGORIES: Final = 10_000
"""The most categories a feature keeps; rarer ones count as never seen."""
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_EPOCH: Final = datetime(1970, 1, 1)  # Warehouse timestamps carry no zone.


@dataclass(frozen=True)
class Feature:
    """A feature: its column, the kind of its column's type, and VARCHAR's categories in order."""

    name: str
    kind: str
    categories: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the feature as JSON; `categories` only where there can be some."""
        document: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.kind == "VARCHAR":
            document["categories"] = list(self.categories)
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Feature:
        """Read what `to_dict` wrote."""
        return cls(document["name"], document["kind"], tuple(document.get("categories", ())))

    def encoder(self) -> Callable[[Any], float]:
        """Return the function from a value of the column's type, never None, to its number."""
        if self.kind == "VARCHAR":
            codes = {category: float(code) for code, category in enumerate(self.categories)}
            return lambda value: codes.get(value, NAN)
        return _ENCODERS.get(self.kind, float)


def day_number(day: date) -> float:
    """Return the days since 1970-01-01."""
    return float(day.toordinal() - _EPOCH_DAY)


def second_number(moment: datetime) -> float:
    """Return the seconds since 1970-01-01 00:00, fractions included."""
    return (moment - _EPOCH).total_seconds()


_ENCODERS: Final[Mapping[str, Callable[[Any], float]]] = {
    "DATE": day_number,
    "TIMESTAMP": second_number,
}


def categories_of(counts: Iterable[tuple[str, int]]) -> tuple[str, ...]:
    """Choose a feature's categories from (value, count) pairs: the most frequent, sorted.

    Alphabetical order makes the dictionary the same however the rows were ordered.
    """
    ranked = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
    return tuple(sorted(value for value, _ in ranked[:MAX_CATEGORIES]))
