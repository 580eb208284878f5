"""From a CSV to a prediction, by the commands that a user types, on the deployed stacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.generate_data import write_stock_price

from .conftest import DIABETES_FEATURES, PROJECT, Journey

ROWS = 20_000
FEATURES = '{"ticker_symbol": "%s", "sector": "%s", "change": 0.5}'


@pytest.fixture(scope="module")
def streamed(journey: Journey, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    file = tmp_path_factory.mktemp("data") / "stock_price.csv"
    write_stock_price(file, ROWS)
    before = rows_of(journey, "stock_price")
    result = journey.json("stream", "stock_price", str(file))
    assert (result["sent"], result["loaded"], result["rejected"]) == (ROWS, ROWS, 0)
    assert result["in_warehouse"] == before + ROWS
    return journey


def rows_of(journey: Journey, model: str) -> int:
    return int(journey.json("status")["models"][model]["rows"])


def test_before_a_first_version_the_api_answers_503_and_says_what_to_do(journey: Journey) -> None:
    answer = journey.run(
        "predict",
        "iris",
        '{"sepal_length": 5, "sepal_width": 3, "petal_length": 1.5, "petal_width": 0.2}',
    )
    assert answer.returncode == 1
    assert "503" in answer.stderr
    assert "tidemill refresh iris" in answer.stderr


def test_a_sample_adds_its_ten_rows(streamed: Journey) -> None:
    before = rows_of(streamed, "stock_price")
    result = streamed.json("stream", "stock_price", "samples/stock_price.csv")
    assert (result["sent"], result["loaded"], result["rejected"]) == (10, 10, 0)
    assert result["in_warehouse"] == before + 10


def test_a_dirty_file_loads_its_good_rows_and_tells_why_it_rejects_the_others(
    streamed: Journey,
) -> None:
    result = streamed.json("stream", "stock_price", "samples/dirty.csv")
    assert result["sent"] == result["loaded"] + result["rejected"]
    assert result["loaded"] > 0
    assert result["rejected"] > 0
    assert sum(result["reasons"].values()) == result["rejected"]


def test_a_refresh_releases_a_version_and_the_api_answers_with_it(streamed: Journey) -> None:
    run = streamed.json("refresh", "stock_price")
    assert run["decision"] == "released"
    assert all(reason["passed"] for reason in run["reasons"])
    header, row = (PROJECT / "samples" / "stock_price.csv").read_text().splitlines()[:2]
    fields = dict(zip(header.split(","), row.split(","), strict=True))
    answer = streamed.json(
        "predict", "stock_price", FEATURES % (fields["ticker_symbol"], fields["sector"])
    )
    assert answer["version"] == run["version"]
    assert answer["prediction"] == pytest.approx(float(fields["price"]), abs=40)


def test_a_second_refresh_keeps_the_endpoint_name(streamed: Journey) -> None:
    first = streamed.target.client("sagemaker").list_endpoints()["Endpoints"]
    champion = streamed.json("status")["models"]["stock_price"]["champion"]
    run = streamed.json("refresh", "stock_price")
    assert run["version"] == champion + 1
    assert run["reasons"]
    second = streamed.target.client("sagemaker").list_endpoints()["Endpoints"]
    assert [e["EndpointName"] for e in first] == [e["EndpointName"] for e in second]


def test_a_wrong_request_is_refused_by_the_models_schema(streamed: Journey) -> None:
    answer = streamed.run("predict", "stock_price", '{"ticker_symbol": 5}')
    assert answer.returncode == 1
    assert "400" in answer.stderr


def test_a_new_model_needs_a_file_and_no_code(journey: Journey, tmp_path: Path) -> None:
    from sklearn.datasets import load_diabetes

    data = load_diabetes()
    file = tmp_path / "diabetes.csv"
    lines = [",".join([*DIABETES_FEATURES, "progression"])]
    for features, target in zip(data.data, data.target, strict=True):
        lines.append(",".join(str(float(value)) for value in [*features, target]))
    file.write_text("\n".join(lines) + "\n")
    assert journey.json("stream", "diabetes", str(file))["loaded"] == 442
    run = journey.json("refresh", "diabetes")
    assert run["decision"] == "released", run["reasons"]
    features = json.dumps(dict.fromkeys(DIABETES_FEATURES, 0.01))
    answer = journey.json("predict", "diabetes", features)
    assert 25 <= answer["prediction"] <= 346
