"""The gate: may a challenger be released? Every decision comes with its reasons in numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from tidemill.errors import TidemillError
from tidemill.model import Gate

TWIN_LIMIT: Final = 1e-4
"""The most that the ONNX twin, which serves, may differ from the trained pipeline."""


class EvaluationError(TidemillError):
    """An evaluation lacks what the gate has to decide by."""


@dataclass(frozen=True)
class Reason:
    """Why one rule let a version pass or not.

    `challenger` is what the rule looked at, `limit` what it was held to, both in the metric's
    unit (None where there is no finite number); `champion` is the champion's own metric, for the
    rule that compares.
    """

    rule: str
    passed: bool
    challenger: float | None
    limit: float | None
    text: str
    champion: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the reason as a JSON document."""
        return asdict(self)


@dataclass(frozen=True)
class Judgement:
    """The gate's decision: `passed` if every one of `reasons` did."""

    reasons: tuple[Reason, ...]

    @property
    def passed(self) -> bool:
        """Whether the version may be released."""
        return all(reason.passed for reason in self.reasons)


def judge(gate: Gate, evaluation: Mapping[str, Any], champion: int | None) -> Judgement:
    """Decide by an `evaluation.json`; `champion` is the version in service, if there is one.

    The rules: `threshold` (the metric itself), `champion` (no worse than the champion's on the
    same rows by more than the gate's margin) and `twin` (what serves predicts what was trained).
    A champion of other columns, which an evaluation skips, stops no challenger.

    Raises EvaluationError where the evaluation lacks a number that a rule needs.
    """
    metric = _metric(evaluation, "challenger", gate.metric)
    reasons = [_threshold(gate, metric)]
    if champion is not None:
        skipped = evaluation.get("champion_skipped")
        if skipped:
            text = f"champion version {champion} cannot be compared: {skipped}"
            reasons.append(Reason("champion", True, _finite(metric), None, text))
        else:
            former = _metric(evaluation, "champion", gate.metric)
            reasons.append(_no_worse(gate, metric, former, champion))
    reasons.append(_twin(_number(evaluation, "twin", "largest_difference")))
    return Judgement(tuple(reasons))


def _threshold(gate: Gate, metric: float) -> Reason:
    passed = metric <= gate.threshold if gate.lower_is_better else metric >= gate.threshold
    bound = "at most" if gate.lower_is_better else "at least"
    text = f"{gate.metric} {_show(metric)} must be {bound} {_show(gate.threshold)}: "
    text += _distance(passed, metric, gate.threshold)
    return Reason("threshold", passed, _finite(metric), gate.threshold, text)


def _no_worse(gate: Gate, metric: float, former: float, version: int) -> Reason:
    if not math.isfinite(former):
        text = f"{gate.metric} of champion version {version} is undefined on these rows"
        return Reason("champion", math.isfinite(metric), _finite(metric), None, text)
    # A share of the champion's size: r2 may be negative, and a margin must still be a margin.
    allowance = gate.margin * abs(former)
    limit = former + allowance if gate.lower_is_better else former - allowance
    passed = metric <= limit if gate.lower_is_better else metric >= limit
    text = (
        f"{gate.metric} {_show(metric)} against {_show(former)} of champion version {version}: "
        f"{_comparison(gate, metric, former)}, {gate.margin:.2%} allowed (limit {_show(limit)}): "
        f"{_distance(passed, metric, limit)}"
    )
    return Reason("champion", passed, _finite(metric), limit, text, champion=former)


def _twin(difference: float) -> Reason:
    passed = difference <= TWIN_LIMIT
    text = (
        f"the ONNX twin differs from the trained pipeline by at most {_show(difference)}, "
        f"{_show(TWIN_LIMIT)} allowed: {_distance(passed, difference, TWIN_LIMIT)}"
    )
    return Reason("twin", passed, _finite(difference), TWIN_LIMIT, text)


def _comparison(gate: Gate, metric: float, former: float) -> str:
    if not math.isfinite(metric):
        return "incomparable"
    if metric == former:
        return "equal"
    better = (metric < former) == gate.lower_is_better
    word = "better" if better else "worse"
    if former == 0:
        return f"{word} by {_show(abs(metric))}"
    return f"{word} by {abs(metric - former) / abs(former):.2%}"


def _distance(passed: bool, value: float, limit: float) -> str:
    word = "passed" if passed else "failed"
    if not math.isfinite(value):
        return f"{word}, it is not a number"
    return f"{word} by {_show(abs(value - limit))}"


def _metric(evaluation: Mapping[str, Any], who: str, name: str) -> float:
    return _number(evaluation, who, "metrics", name)


def _number(evaluation: Mapping[str, Any], *path: str) -> float:
    found: Any = evaluation
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            raise EvaluationError(f"the evaluation has nothing at {'.'.join(path)}")
        found = found[key]
    if found is None:  # a metric that these rows leave undefined
        return math.nan
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise EvaluationError(f"the evaluation has no number at {'.'.join(path)}")
    return float(found)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _show(value: float) -> str:
    return f"{value:.6g}"
