"""EventBridge schedule expressions: `rate(1 day)` and `cron(0 6 * * ? *)`."""

from __future__ import annotations

import re

EXPECTED = "rate(N minutes|hours|days), or cron(minute hour day-of-month month day-of-week year)"
_RATE = re.compile(r"rate\(([1-9][0-9]{0,5}) (minute|hour|day)(s?)\)", re.ASCII)
_MINUTES = {"minute": 1, "hour": 60, "day": 1440}
_LONGEST_RATE = 366 * 1440
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_FIELDS: tuple[tuple[str, int, int, list[str], int], ...] = (
    ("minute", 0, 59, [], 0),
    ("hour", 0, 23, [], 0),
    ("day-of-month", 1, 31, [], 0),
    ("month", 1, 12, _MONTHS, 1),
    ("day-of-week", 1, 7, _WEEKDAYS, 1),
    ("year", 1970, 2199, [], 0),
)


def problem_of(expression: str) -> str | None:
    """Return what is wrong with a schedule expression, or None where EventBridge takes it."""
    if expression.startswith("rate("):
        return _problem_of_rate(expression)
    if expression.startswith("cron(") and expression.endswith(")"):
        return _problem_of_cron(expression[5:-1])
    return "must be a rate or a cron expression"


def _problem_of_rate(expression: str) -> str | None:
    match = _RATE.fullmatch(expression)
    if match is None:
        return "is not a rate: a whole number from 1 and a unit are wanted"
    count, unit, plural = int(match[1]), match[2], match[3]
    if (count == 1) == bool(plural):
        return f"must say {unit} with 1 and {unit}s with any other number"
    if count * _MINUTES[unit] > _LONGEST_RATE:
        return "must be at most 366 days"
    return None


def _problem_of_cron(text: str) -> str | None:
    parts = text.split()
    if len(parts) != len(_FIELDS):
        return f"has {len(parts)} cron fields where 6 are wanted"
    for part, (name, low, high, words, first) in zip(parts, _FIELDS, strict=True):
        for item in part.split(","):
            if not _is_item(item, name, low, high, words, first):
                return f"has no valid {name}: {part!r}"
    if (parts[2] == "?") == (parts[4] == "?"):
        return "must have ? for exactly one of day-of-month and day-of-week"
    return None


def _is_item(item: str, name: str, low: int, high: int, words: list[str], first: int) -> bool:
    def number(text: str) -> int | None:
        if text.upper() in words:
            return words.index(text.upper()) + first
        value = int(text) if re.fullmatch(r"[0-9]{1,4}", text) else -1
        return value if low <= value <= high else None

    if item == "*":
        return True
    if name in {"day-of-month", "day-of-week"} and item in {"?", "L"}:
        return True
    if name == "day-of-month" and item.endswith("W"):
        return item == "LW" or number(item[:-1]) is not None
    if name == "day-of-week" and (match := re.fullmatch(r"(\w+)(L|#[1-5])", item)):
        return number(match[1]) is not None
    start, slash, step = item.partition("/")
    if slash and not (re.fullmatch(r"[1-9][0-9]{0,3}", step) and int(step) <= high):
        return False
    if slash and start == "*":
        return True
    begin, dash, end = start.partition("-")
    lower, upper = number(begin), number(end) if dash else high
    return lower is not None and upper is not None and lower <= upper
