"""The serving process' answers."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

from containers.artefact import Artefact, Metadata
from containers.features import Feature
from containers.http_server import Request, Response
from containers.serve import ModelServer
from containers.tree_graph import tree_graph

ONE = b'{"x": 3.0}'
TOLD = ("x-amzn-sagemaker-custom-attributes", "model=example;version=7")


@cache
def server(problem: str, classes: tuple[str | int | bool, ...] = ()) -> ModelServer:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    x = np.arange(120.0)
    if problem == "regression":
        estimator = HistGradientBoostingRegressor(max_iter=5).fit(x[:, None], x)
    else:
        target = (x * len(classes) // 120).astype(int)
        estimator = HistGradientBoostingClassifier(max_iter=5).fit(x[:, None], target)
    metadata = Metadata("example", problem, "y", (Feature("x", "FLOAT"),), classes, {})
    return ModelServer(Artefact(metadata, tree_graph(estimator, 1)), "example", 7)


def invoke(
    to: ModelServer, body: bytes, kind: str = "application/json", accept: str | None = None
) -> Response:
    headers = {b"content-type": kind.encode()}
    if accept is not None:
        headers[b"accept"] = accept.encode()
    return to.handle(Request("POST", "/invocations", headers, body))


def test_one_object_gets_one_prediction_with_its_version() -> None:
    response = invoke(server("regression"), ONE)
    answer = json.loads(response.body)
    assert (response.status, response.content_type) == (200, "application/json")
    assert list(answer) == ["prediction", "model", "version"]
    assert (answer["model"], answer["version"]) == ("example", 7)
    assert isinstance(answer["prediction"], float)
    assert TOLD in response.headers


def test_all_formats_agree() -> None:
    to = server("regression")
    one = json.loads(invoke(to, ONE).body)["prediction"]
    rows = json.loads(invoke(to, b'{"rows": [%b, %b]}' % (ONE, ONE)).body)
    assert rows == {"predictions": [one, one], "model": "example", "version": 7}
    lines = invoke(to, ONE + b"\n" + ONE, "application/jsonlines")
    assert [json.loads(line)["prediction"] for line in lines.body.splitlines()] == [one, one]
    table = invoke(to, b"3.0\n3\n", "text/csv; charset=utf-8")
    assert table.content_type == "text/csv"
    assert [float(line) for line in table.body.splitlines()] == [one, one]
    assert TOLD in table.headers


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (("no", "yes"), ["no", "yes"]),
        ((False, True), ["false", "true"]),
        ((1, 2, 5), ["1", "2", "5"]),
    ],
)
def test_a_class_comes_with_the_probability_of_each(
    classes: tuple[str | int | bool, ...], labels: list[str]
) -> None:
    to = server("multiclass" if len(classes) > 2 else "binary", classes)
    for x, expected in ((0.0, classes[0]), (119.0, classes[-1])):
        answer = json.loads(invoke(to, json.dumps({"x": x}).encode()).body)
        assert answer["prediction"] == expected
        assert type(answer["prediction"]) is type(expected)
        assert list(answer["probabilities"]) == labels
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert max(answer["probabilities"], key=answer["probabilities"].get) == json.dumps(
            expected
        ).strip('"')
    rows = json.loads(invoke(to, b'{"rows": [{"x": 0}, {"x": 119}]}').body)
    assert rows["predictions"] == [classes[0], classes[-1]]
    assert [list(chances) for chances in rows["probabilities"]] == [labels, labels]


def test_a_class_is_quoted_in_csv() -> None:
    to = server("binary", ('a,"b"', "c"))
    assert invoke(to, b"0\n119\n", "text/csv").body == b'"a,""b"""\nc\n'


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "text/csv"),
        ("application/json", "application/json"),
        ("text/html, application/jsonlines;q=0.5", "application/jsonlines"),
        ("text/html, */*;q=0.1", "text/csv"),
        ("", "text/csv"),
    ],
)
def test_the_client_chooses_the_answers_format(accept: str, kind: str) -> None:
    response = invoke(server("regression"), b"3.0", "text/csv", accept)
    assert (response.status, response.content_type) == (200, kind)


@pytest.mark.parametrize(
    ("method", "path", "kind", "accept", "status"),
    [
        ("GET", "/invocations", "application/json", "*/*", 405),
        ("POST", "/ping", "application/json", "*/*", 405),
        ("GET", "/", "application/json", "*/*", 404),
        ("POST", "/invocations", "application/xml", "*/*", 415),
        ("POST", "/invocations", "", "*/*", 415),
        ("POST", "/invocations", "application/json", "text/html", 406),
    ],
)
def test_what_is_no_request_for_a_prediction_is_refused(
    method: str, path: str, kind: str, accept: str, status: int
) -> None:
    headers = {b"content-type": kind.encode(), b"accept": accept.encode()}
    response = server("regression").handle(Request(method, path, headers, ONE))
    assert response.status == status
    assert set(json.loads(response.body)) == {"error", "message"}


def test_a_bad_row_is_refused_with_the_field() -> None:
    response = invoke(server("regression"), b'{"x": "three"}')
    assert response.status == 400
    assert json.loads(response.body) == {
        "error": "invalid_field",
        "message": "x must be a number",
        "field": "x",
    }


def test_ping_says_what_is_served() -> None:
    response = server("regression").handle(Request("GET", "/ping", {}, b""))
    assert response.status == 200
    assert json.loads(response.body) == {"model": "example", "version": 7}
