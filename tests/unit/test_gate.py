from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.gate import EvaluationError, judge
from tidemill.model import Gate

RMSE = Gate("rmse", 4.0, 0.01)
ACCURACY = Gate("accuracy", 0.9, 0.02)


def evaluation(
    metric: str, challenger: float | None, champion: float | None = None, twin: float = 0.0
) -> dict[str, Any]:
    return {
        "challenger": {"metrics": {metric: challenger}},
        "champion": None if champion is None else {"metrics": {metric: champion}},
        "twin": {"largest_difference": twin},
    }


def test_a_first_version_is_held_to_threshold_and_twin() -> None:
    judgement = judge(RMSE, evaluation("rmse", 3.746, twin=2e-6), None)
    assert judgement.passed
    assert [reason.to_dict() for reason in judgement.reasons] == [
        {
            "rule": "threshold",
            "passed": True,
            "challenger": 3.746,
            "limit": 4.0,
            "text": "rmse 3.746 must be at most 4: passed by 0.254",
            "champion": None,
        },
        {
            "rule": "twin",
            "passed": True,
            "challenger": 2e-6,
            "limit": 1e-4,
            "text": "the ONNX twin differs from the trained pipeline by at most 2e-06, "
            "0.0001 allowed: passed by 9.8e-05",
            "champion": None,
        },
    ]


@pytest.mark.parametrize(
    ("gate", "challenger", "champion", "passed", "said"),
    [
        (RMSE, 3.737, 3.7, True, "worse by 1.00%, 1.00% allowed (limit 3.737): passed by 0"),
        (RMSE, 3.774, 3.7, False, "worse by 2.00%, 1.00% allowed (limit 3.737): failed by 0.037"),
        (RMSE, 3.33, 3.7, True, "better by 10.00%"),
        (RMSE, 3.7, 3.7, True, "equal"),
        (ACCURACY, 0.94, 0.95, True, "worse by 1.05%, 2.00% allowed (limit 0.931)"),
        (ACCURACY, 0.92, 0.95, False, "worse by 3.16%, 2.00% allowed (limit 0.931): failed by"),
        (ACCURACY, 0.96, 0.95, True, "better by 1.05%"),
        (Gate("r2", -1.0, 0.1), -0.6, -0.5, False, "worse by 20.00%, 10.00% allowed (limit -0.55)"),
        (Gate("r2", -1.0, 0.1), -0.54, -0.5, True, "worse by 8.00%"),
        (Gate("mae", 4.0, 0.1), 0.1, 0.0, False, "worse by 0.1, 10.00% allowed (limit 0)"),
    ],
)
def test_a_challenger_may_be_worse_by_the_margin_alone(
    gate: Gate, challenger: float, champion: float, passed: bool, said: str
) -> None:
    judgement = judge(gate, evaluation(gate.metric, challenger, champion), 7)
    reason = {reason.rule: reason for reason in judgement.reasons}["champion"]
    assert reason.passed is passed is judgement.passed
    assert reason.champion == champion
    assert said in reason.text and "champion version 7" in reason.text


@pytest.mark.parametrize(
    ("gate", "metric", "passed"),
    [(RMSE, 4.0, True), (RMSE, 4.0001, False), (ACCURACY, 0.9, True), (ACCURACY, 0.8999, False)],
)
def test_the_threshold_itself_is_allowed(gate: Gate, metric: float, passed: bool) -> None:
    assert judge(gate, evaluation(gate.metric, metric), None).passed is passed


@pytest.mark.parametrize("difference", [1.1e-4, math.inf, math.nan])
def test_a_twin_that_differs_is_rejected(difference: float) -> None:
    judgement = judge(RMSE, evaluation("rmse", 3.7, twin=difference), None)
    assert [reason.rule for reason in judgement.reasons if not reason.passed] == ["twin"]


@pytest.mark.parametrize("metric", [math.nan, math.inf, None])
def test_a_metric_that_is_no_number_never_passes(metric: float | None) -> None:
    judgement = judge(RMSE, evaluation("rmse", metric, 3.7), 1)
    failed = {reason.rule: reason for reason in judgement.reasons if not reason.passed}
    assert set(failed) == {"threshold", "champion"}
    assert failed["threshold"].challenger is None
    assert "not a number" in failed["threshold"].text


def test_a_champion_of_other_columns_stops_no_challenger() -> None:
    document = evaluation("rmse", 3.7) | {"champion_skipped": "it lacks the feature volume"}
    [_, reason, _] = judge(RMSE, document, 3).reasons
    assert reason.passed and reason.limit is None
    assert reason.text == "champion version 3 cannot be compared: it lacks the feature volume"


def test_a_champion_whose_metric_is_undefined_stops_no_challenger() -> None:
    document = evaluation("rmse", 3.7)
    document["champion"] = {"metrics": {"rmse": None}}
    assert judge(RMSE, document, 3).passed


@pytest.mark.parametrize(
    ("document", "missing"),
    [
        ({}, "challenger.metrics.rmse"),
        (evaluation("mae", 3.7), "challenger.metrics.rmse"),
        (evaluation("rmse", 3.7), "champion.metrics.rmse"),
        (evaluation("rmse", 3.7, 3.7) | {"twin": {"largest_difference": "0"}}, "twin.largest"),
        (evaluation("rmse", True, 3.7), "challenger.metrics.rmse"),
    ],
)
def test_an_evaluation_that_lacks_a_number_decides_nothing(
    document: dict[str, Any], missing: str
) -> None:
    with pytest.raises(EvaluationError, match=missing.replace(".", r"\.")):
        judge(RMSE, document, 2)


finite = st.floats(-1e6, 1e6)


@given(
    challenger=finite,
    champion=finite,
    margin=st.floats(0, 1),
    metric=st.sampled_from(["r2", "rmse"]),
)
def test_what_is_no_worse_always_passes_the_comparison(
    challenger: float, champion: float, margin: float, metric: str
) -> None:
    gate = Gate(metric, 0.5, margin)
    reasons = judge(gate, evaluation(metric, challenger, champion), 1).reasons
    worse = challenger > champion if gate.lower_is_better else challenger < champion
    if not worse:
        assert reasons[1].passed
    elif margin == 0:
        assert not reasons[1].passed
