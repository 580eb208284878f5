"""The serving process: answers /ping and /invocations for the version in `model/`.

Environment: TIDEMILL_MODEL and TIDEMILL_VERSION are told in every answer;
SAGEMAKER_BIND_TO_PORT (8080) and TIDEMILL_BIND_HOST (127.0.0.1; the image sets 0.0.0.0) say where
to listen. The port opens when the model is loaded. It loads neither scikit-learn nor skops, and
nothing can be unpickled in it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import uvloop

from containers import http_server, job
from containers.artefact import Artefact
from containers.http_server import Request, Response
from containers.request_rows import CSV, JSON, JSON_LINES, RequestError, RowReader, Rows
from tidemill.errors import TidemillError

_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "body_too_large",
    415: "unsupported_media_type",
    431: "headers_too_large",
    500: "internal_error",
}


class ModelServer:
    """The requests' handler: one version of one model."""

    def __init__(self, artefact: Artefact, model: str, version: int | str | None) -> None:
        self._artefact = artefact
        self._regression = artefact.metadata.problem == "regression"
        self._classes = artefact.metadata.classes
        # JSON's keys are text: a class 1 is told as "1", a class true as "true".
        self._labels = [c if isinstance(c, str) else json.dumps(c) for c in self._classes]
        rows = RowReader(artefact.metadata.features)
        self._readers: Mapping[str, Callable[[bytes], Rows]] = {
            JSON: rows.json,
            JSON_LINES: rows.json_lines,
            CSV: rows.csv,
        }
        self._writers = {JSON: self._json, JSON_LINES: self._json_lines, CSV: self._csv}
        self._origin = {"model": model, "version": version}
        self._tail = json.dumps(self._origin)[1:]
        # InvokeEndpoint hands this header on, so that CSV answers carry the version too.
        told = f"model={model};version={version}"
        self._headers = (("x-amzn-sagemaker-custom-attributes", told),)

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        if request.path == "/invocations":
            if request.method != "POST":
                return refuse(405, "use POST /invocations", (("allow", "POST"),))
            return self._invoke(request)
        if request.path == "/ping":
            if request.method != "GET":
                return refuse(405, "use GET /ping", (("allow", "GET"),))
            return Response(200, json.dumps(self._origin).encode())
        return refuse(404, "there is GET /ping and POST /invocations")

    def _invoke(self, request: Request) -> Response:
        sent = _media_type(request.headers.get(b"content-type", b""))
        read = self._readers.get(sent)
        if read is None:
            return refuse(415, f"content-type must be one of {', '.join(self._readers)}")
        wanted = sent
        accept = request.headers.get(b"accept", b"*/*")
        if accept != b"*/*":
            kinds = [_media_type(kind) for kind in accept.split(b",")]
            known = [kind for kind in kinds if kind in self._writers]
            if not known and not {"*/*", "application/*", ""}.intersection(kinds):
                return refuse(406, f"accept must name one of {', '.join(self._writers)}")
            wanted = known[0] if known else sent
        try:
            rows = read(request.body)
        except RequestError as error:
            document = {"error": error.code, "message": error.message}
            if error.field is not None:
                document["field"] = error.field
            return Response(400, json.dumps(document).encode())
        values = self._artefact.values(rows.numbers).tolist()
        body = self._writers[wanted](values, rows.single)
        return Response(200, body.encode(), wanted, self._headers)

    def _prediction(self, row: list[float]) -> tuple[Any, dict[str, float]]:
        """The class that is most likely, and the probability of each."""
        chances = row if len(row) > 1 else [1.0 - row[0], row[0]]
        place = max(range(len(chances)), key=chances.__getitem__)
        return self._classes[place], dict(zip(self._labels, chances, strict=True))

    def _one(self, row: list[float]) -> str:
        if self._regression:
            return f'{{"prediction": {row[0]!r}, {self._tail}'
        label, chances = self._prediction(row)
        return (
            f'{{"prediction": {json.dumps(label)}, "probabilities": {json.dumps(chances)}, '
            f"{self._tail}"
        )

    def _json(self, values: list[list[float]], single: bool) -> str:
        if single:
            return self._one(values[0])
        if self._regression:
            return json.dumps({"predictions": [row[0] for row in values], **self._origin})
        labels, chances = zip(*map(self._prediction, values), strict=True)
        return json.dumps({"predictions": labels, "probabilities": chances, **self._origin})

    def _json_lines(self, values: list[list[float]], single: bool) -> str:  # noqa: ARG002 - as _json
        return "".join([self._one(row) + "\n" for row in values])

    def _csv(self, values: list[list[float]], single: bool) -> str:  # noqa: ARG002 - as _json
        if self._regression:
            return "".join([f"{row[0]!r}\n" for row in values])
        return "".join([_csv_field(self._prediction(row)[0]) + "\n" for row in values])


def refuse(status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """Return the answer to a request that is refused as a whole."""
    body = json.dumps({"error": _CODES[status], "message": message})
    return Response(status, body.encode(), headers=headers)


def _media_type(header: bytes) -> str:
    return header.partition(b";")[0].strip().lower().decode("latin-1")


def _csv_field(label: str | int | bool) -> str:
    if not isinstance(label, str):
        return json.dumps(label)
    if any(mark in label for mark in ',"\r\n'):
        return '"' + label.replace('"', '""') + '"'
    return label


def forbid_unpickling(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: NumPy imports pickle, and nothing here may use it to build an object."""
    if event == "pickle.find_class":
        raise RuntimeError(f"the serving process unpickles nothing: {arguments}")


def main() -> int:
    """Serve until SIGTERM; return the exit code, 1 where model or port are no good."""
    sys.addaudithook(forbid_unpickling)
    environment = os.environ
    host = environment.get("TIDEMILL_BIND_HOST", "127.0.0.1")
    port = int(environment.get("SAGEMAKER_BIND_TO_PORT", "8080"))
    text = environment.get("TIDEMILL_VERSION")
    version = int(text) if text is not None and text.isdecimal() else text
    try:
        artefact = Artefact.load(job.base_folder() / "model")
        model = environment.get("TIDEMILL_MODEL", artefact.metadata.model)
        server = ModelServer(artefact, model, version)
        # What is loaded now stays; the collector need not look at it again.
        gc.collect()
        gc.freeze()
        ready = f"serving {model} version {version} on {host}:{port}"
        uvloop.run(http_server.serve(server.handle, refuse, host, port, ready))
    except (TidemillError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
