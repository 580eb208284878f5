from __future__ import annotations

import base64
import json
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from lambdas.adapters import inference
from lambdas.adapters.ledger import Ledger
from tidemill.ledger import Champion, VersionState
from tidemill.run import Request

ROW = {"ticker_symbol": "QXZ", "sector": "ENERGY", "change": 1.5}
ANSWER = {"prediction": 101.5, "model": "stock_price", "version": 1}
MISSING = "Endpoint tidemill-test-stock-price of account 123456789012 not found."


@pytest.fixture
def predict(
    load: Callable[[str], ModuleType], context: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Calls the function; `predict.runtime` stubs SageMaker's side."""
    session = botocore.session.get_session()
    runtime = session.create_client("sagemaker-runtime", region_name="eu-west-1")
    monkeypatch.setattr(inference, "_runtime", lambda: runtime)
    handler = load("predict").handler

    def call(body: Any, resource: str = "/stock_price", **extra: Any) -> tuple[int, dict[str, Any]]:
        text = body if isinstance(body, str) else json.dumps(body)
        event = {"resource": resource, "path": resource, "body": text, "isBase64Encoded": False}
        response = handler(event | extra, context)
        assert response["headers"]["content-type"] == "application/json"
        assert ("retry-after" in response["headers"]) == (response["statusCode"] == 503)
        return response["statusCode"], json.loads(response["body"])

    with Stubber(runtime) as stubber:
        call.runtime = stubber  # type: ignore[attr-defined]  # a function is handy to call
        yield call


@pytest.fixture
def champion(aws: None) -> None:
    ledger = Ledger("ledger")
    ledger.open_run(Request("stock_price", "manual", "ada"), "r1", "arn:1")
    ledger.allot_version("stock_price", "r1")
    ledger.record_version("stock_price", 1, VersionState.REGISTERED, {"run_id": "r1"})
    ledger.promote("stock_price", Champion(1, "r1", "s3://a/b", "c"), None, "arn:1")


def asks(predict: Any, row: Any = ROW, answer: dict[str, Any] = ANSWER) -> None:
    body = SimpleNamespace(read=lambda: json.dumps(answer).encode())
    predict.runtime.add_response(
        "invoke_endpoint",
        {"Body": body},
        {
            "EndpointName": "tidemill-test-stock-price",
            "ContentType": "application/json",
            "Accept": "application/json",
            "Body": json.dumps(row).encode(),
        },
    )


def test_a_prediction_is_passed_on(predict: Any, champion: None) -> None:
    asks(predict)
    assert predict(ROW) == (200, ANSWER)
    asks(predict)
    encoded = base64.b64encode(json.dumps(ROW).encode()).decode()
    assert predict(encoded, isBase64Encoded=True) == (200, ANSWER)


def test_absent_features_are_asked_for_as_null(predict: Any, champion: None) -> None:
    asks(predict, {"change": 2, "ticker_symbol": None, "sector": None})
    assert predict({"change": 2})[0] == 200


def test_before_the_first_champion_it_says_so(predict: Any, aws: None) -> None:
    status, body = predict(ROW)
    assert (status, body["error"]) == (503, "no_champion")
    assert "first refresh" in body["message"]


def test_the_ledger_is_read_until_there_is_a_champion_and_not_again(
    predict: Any, aws: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    real = Ledger.champion
    monkeypatch.setattr(
        Ledger, "champion", lambda self, model: reads.append(model) or real(self, model)
    )
    predict(ROW)
    request.getfixturevalue("champion")
    for _ in range(3):
        asks(predict)
        assert predict(ROW)[0] == 200
    assert len(reads) == 2


def test_an_endpoint_that_is_gone_is_no_champion(predict: Any, champion: None) -> None:
    predict.runtime.add_client_error("invoke_endpoint", "ValidationError", MISSING)
    assert predict(ROW)[1]["error"] == "no_champion"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("[]", "invalid_request"),
        ({"x": 1}, "invalid_features"),
    ],
)
def test_bad_requests_are_named(predict: Any, champion: None, body: Any, error: str) -> None:
    status, answer = predict(body)
    assert (status, answer["error"]) == (400, error)


def test_a_body_that_is_not_base64_is_refused(predict: Any, champion: None) -> None:
    assert predict("é", isBase64Encoded=True)[0] == 400


def test_a_version_that_refuses_is_quoted(predict: Any, champion: None) -> None:
    predict.runtime.add_client_error(
        "invoke_endpoint",
        "ModelError",
        "Received client error (400) from live",
        modeled_fields={"OriginalStatusCode": 400, "OriginalMessage": "sector is missing"},
        response_meta=None,
    )
    status, answer = predict(ROW)
    assert (status, answer["error"]) == (400, "refused")
    assert "sector is missing" in answer["message"]


@pytest.mark.parametrize(
    "code", ["ThrottlingException", "ServiceUnavailable", "ModelNotReadyException"]
)
def test_no_capacity_is_told_as_that(predict: Any, champion: None, code: str) -> None:
    for _ in range(2):  # a second attempt is the client's own
        predict.runtime.add_client_error("invoke_endpoint", code, "busy", http_status_code=429)
    status, answer = predict(ROW)
    assert (status, answer["error"]) == (503, "busy")


@pytest.mark.parametrize("code", ["AccessDeniedException", "InternalFailure", "ModelError"])
def test_what_the_operator_must_mend_is_not_shown(predict: Any, champion: None, code: str) -> None:
    predict.runtime.add_client_error("invoke_endpoint", code, "arn:secret", http_status_code=400)
    status, answer = predict(ROW)
    assert (status, answer["error"]) == (502, "endpoint_failed")
    assert "secret" not in answer["message"]


def test_a_connection_that_fails_is_502(
    predict: Any, champion: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**request: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://…")

    monkeypatch.setattr(inference, "_runtime", lambda: SimpleNamespace(invoke_endpoint=fail))
    assert predict(ROW)[0] == 502


def test_a_model_that_is_not_deployed_is_404(predict: Any, aws: None) -> None:
    assert predict(ROW, resource="/nothing")[0] == 404
