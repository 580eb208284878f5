from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lambdas.adapters import cloudformation, images

URI = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/tidemill"


class Inbox:
    """The address where CloudFormation waits; `failures` are answered first."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.failures: list[int] = []
        self.attempts = 0


@pytest.fixture
def inbox() -> Iterator[tuple[Inbox, str]]:
    made = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            made.attempts += 1
            body = self.rfile.read(int(self.headers["content-length"]))
            status = made.failures.pop(0) if made.failures else 200
            if status == 200:
                assert self.headers["content-type"] == ""
                made.answers.append(json.loads(body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made, f"http://127.0.0.1:{server.server_port}/answer"
    server.shutdown()
    thread.join()
    server.server_close()


class FakeCodeBuild:
    """A registry and its builder: `statuses` are what a build passes through."""

    def __init__(self, tags: set[str], statuses: list[str], pushes: bool = True) -> None:
        self.tags = tags
        self.statuses = statuses
        self.pushes = pushes
        self.started: list[dict[str, Any]] = []
        self.exceptions = SimpleNamespace(ImageNotFoundException=KeyError)

    def describe_images(self, repositoryName: str, imageIds: Any) -> Any:  # noqa: N803
        if imageIds[0]["imageTag"] not in self.tags:
            raise KeyError
        return {"imageDetails": [{"imageDigest": "sha256:" + "a" * 64}]}

    def describe_repositories(self, repositoryNames: Any) -> Any:  # noqa: N803
        return {"repositories": [{"repositoryUri": URI}]}

    def start_build(self, **request: Any) -> Any:
        self.started.append(request)
        return {"build": {"id": "image:1"}}

    def batch_get_builds(self, ids: Any) -> Any:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == "SUCCEEDED" and self.pushes:
            self.tags.add(self.started[0]["environmentVariablesOverride"][0]["value"])
        return {"builds": [{"buildStatus": status, "logs": {"deepLink": "https://log"}}]}


def event(url: str, kind: str = "Create", **properties: str) -> dict[str, Any]:
    return {
        "RequestType": kind,
        "ResponseURL": url,
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Image",
        "ResourceProperties": {"ServiceToken": "arn", **properties},
    }


@pytest.fixture
def build(
    load: Callable[[str], ModuleType],
    inbox: tuple[Inbox, str],
    context: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., dict[str, Any]]:
    monkeypatch.setattr(images, "_FIRST_PAUSE", 0.001)
    handler = load("build_image").handler

    def call(fake: FakeCodeBuild, kind: str = "Create", **properties: str) -> dict[str, Any]:
        monkeypatch.setattr(images, "client", lambda service: fake)
        made, url = inbox
        handler(event(url, kind, **properties), context)
        return made.answers[-1]

    return call


def test_an_image_is_built_and_told_by_its_digest(build: Any) -> None:
    fake = FakeCodeBuild(set(), ["IN_PROGRESS", "IN_PROGRESS", "SUCCEEDED"])
    answer = build(fake, ImageTag="v1")
    assert answer["Status"] == "SUCCESS"
    assert answer["Data"] == {"ImageUri": f"{URI}@sha256:{'a' * 64}"}
    assert answer["PhysicalResourceId"] == "tidemill-image"
    [started] = fake.started
    assert started["projectName"] == "image"
    assert started["environmentVariablesOverride"][0]["name"] == "IMAGE_TAG"


def test_an_image_that_exists_is_not_built_again(build: Any) -> None:
    fake = FakeCodeBuild({"v1"}, ["SUCCEEDED"])
    assert build(fake, "Update", ImageTag="v1")["Status"] == "SUCCESS"
    assert fake.started == []


def test_deleting_leaves_the_image(build: Any) -> None:
    fake = FakeCodeBuild({"v1"}, ["SUCCEEDED"])
    assert build(fake, "Delete", ImageTag="v1")["Status"] == "SUCCESS"
    assert fake.tags == {"v1"}


@pytest.mark.parametrize(
    ("fake", "properties", "said"),
    [
        (FakeCodeBuild(set(), ["FAILED"]), {"ImageTag": "v1"}, "ended as FAILED: https://log"),
        (FakeCodeBuild(set(), ["SUCCEEDED"], False), {"ImageTag": "v1"}, "pushed no image"),
        (FakeCodeBuild(set(), ["SUCCEEDED"]), {}, "needs the property ImageTag"),
    ],
)
def test_every_failure_is_answered(
    build: Any, fake: FakeCodeBuild, properties: dict[str, str], said: str
) -> None:
    answer = build(fake, **properties)
    assert answer["Status"] == "FAILED"
    assert said in answer["Reason"]


def test_a_build_that_outlasts_the_function_is_answered(
    build: Any, context: SimpleNamespace
) -> None:
    context.get_remaining_time_in_millis = lambda: 45_000
    answer = build(FakeCodeBuild(set(), ["IN_PROGRESS"]), ImageTag="v1")
    assert answer["Status"] == "FAILED" and "in time" in answer["Reason"]


def test_an_answer_is_tried_again_and_no_longer_than_it_makes_sense(
    inbox: tuple[Inbox, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, url = inbox
    monkeypatch.setattr(cloudformation.time, "sleep", lambda seconds: None)
    made.failures = [503, 500]
    cloudformation.respond(event(url), "SUCCESS", "id", {"A": "b"})
    assert made.attempts == 3 and made.answers[0]["Data"] == {"A": "b"}
    made.failures = [500] * 4
    with pytest.raises(OSError, match="500"):
        cloudformation.respond(event(url), "SUCCESS", "id")
    assert made.attempts == 7
    made.failures = [403]
    with pytest.raises(OSError, match="403"):
        cloudformation.respond(event(url), "FAILED", "id", reason="x" * 9000)
    assert made.attempts == 8


def test_an_answer_goes_to_http_alone() -> None:
    with pytest.raises(ValueError, match="HTTP"):
        cloudformation.respond(event("file:///etc/passwd"), "SUCCESS", "id")
