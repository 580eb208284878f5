"""A release: does the endpoint answer as the version that was trained?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

TOLERANCE: Final = 1e-4
"""The most that a served prediction may differ from the trained one, in the target's unit."""


def differences(
    answer: Mapping[str, Any], model: str, version: int, expected: Sequence[Any]
) -> list[str]:
    """Return what is wrong with an endpoint's answer, in words; nothing if all is well.

    `answer` is `{"predictions": […], "model": …, "version": …}`; `expected` are the predictions
    of the trained version for the same rows: numbers, or classes.
    """
    if (answer.get("model"), answer.get("version")) != (model, version):
        said = f"{answer.get('model')} version {answer.get('version')}"
        return [f"it answers as {said}, not as {model} version {version}"]
    served = answer.get("predictions")
    if not isinstance(served, list) or len(served) != len(expected):
        return [f"it answers with {served!r} where {len(expected)} predictions were due"]
    if not expected:
        return ["there is no smoke prediction to compare"]
    return [
        f"smoke row {row}: {got!r} is not {wanted!r}"
        for row, (got, wanted) in enumerate(zip(served, expected, strict=True))
        if not _same(got, wanted)
    ]


def _same(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(got, int | float) and not isinstance(got, bool):
        return math.isfinite(got) and abs(got - wanted) <= TOLERANCE
    return type(got) is type(wanted) and bool(got == wanted)
