"""`python -m benchmarks.serving_comparators flask|transformer`: the usual ways to serve.

Both serve the scikit-learn pipeline that one would have: an OrdinalEncoder over a data frame's
text columns, then the very estimator of the artefact. The Transformer runs behind our own HTTP
server instead of Java's multi-model-server, so that its own time is what is measured.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from containers import http_server, job
from containers.artefact import ESTIMATOR_FILE, METADATA_FILE, Metadata
from containers.estimator_file import read_estimator
from containers.http_server import Request, Response


def pipeline(folder: Path) -> Pipeline:
    """Return the pipeline from a data frame of the features to predictions."""
    metadata = Metadata.from_dict(json.loads((folder / METADATA_FILE).read_text()))
    text = [feature for feature in metadata.features if feature.kind == "VARCHAR"]
    names = [feature.name for feature in metadata.features]
    if names[: len(text)] != [feature.name for feature in text]:
        raise ValueError("ColumnTransformer puts the text columns first: so must the model")
    ordinal = OrdinalEncoder(
        categories=[list(feature.categories) for feature in text],
        handle_unknown="use_encoded_value",
        unknown_value=float("nan"),
    )
    columns = ColumnTransformer(
        [("text", ordinal, [feature.name for feature in text])], remainder="passthrough"
    )
    columns.fit(
        pd.DataFrame(
            {f.name: [f.categories[0] if f.categories else 0.0] for f in metadata.features}
        )
    )
    return Pipeline([("columns", columns), ("trees", read_estimator(folder / ESTIMATOR_FILE))])


def flask(folder: Path, port: int) -> None:
    """Serve with Flask and the server it comes with."""
    # By name: this module is read where they are not installed.
    web, serving = import_module("flask"), import_module("werkzeug.serving")
    app, model = web.Flask(__name__), pipeline(folder)

    def invocations() -> Any:
        frame = pd.DataFrame([web.request.get_json()])
        return web.jsonify(prediction=float(model.predict(frame)[0]))

    app.add_url_rule("/invocations", view_func=invocations, methods=["POST"])
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    serving.make_server("127.0.0.1", port, app, threaded=True).serve_forever()


def transformer(folder: Path, port: int) -> None:
    """Serve with sagemaker-inference's Transformer and handlers as its documentation has them."""
    from sagemaker_inference.default_inference_handler import DefaultInferenceHandler
    from sagemaker_inference.transformer import Transformer

    class Handler(DefaultInferenceHandler):  # type: ignore[misc]  # it publishes no types
        def default_model_fn(self, model_dir: str) -> Pipeline:
            return pipeline(Path(model_dir))

        def default_input_fn(self, input_data: str, content_type: str) -> pd.DataFrame:  # noqa: ARG002 - its interface
            return pd.DataFrame([json.loads(input_data)])

        def default_predict_fn(self, data: pd.DataFrame, model: Pipeline) -> Any:
            return model.predict(data)

    served = Transformer(Handler())

    def handle(request: Request) -> Response:
        headers = {name.decode().title(): value.decode() for name, value in request.headers.items()}
        processor = SimpleNamespace(get_request_properties=lambda: headers)
        context = SimpleNamespace(
            system_properties={"model_dir": str(folder)},
            request_processor=[processor],
            set_response_content_type=lambda *_: None,
            set_response_status=lambda **_: None,
        )
        answer = served.transform([{"body": request.body}], context)[0]
        # An error comes back as text in place of what the handler made.
        failed = isinstance(answer, str) and "Traceback" in answer
        body = answer if isinstance(answer, bytes) else str(answer).encode()
        return Response(500 if failed else 200, body)

    def refuse(status: int, message: str) -> Response:
        return Response(status, message.encode())

    asyncio.run(http_server.serve(handle, refuse, "127.0.0.1", port, "ready"))


if __name__ == "__main__":
    serve = {"flask": flask, "transformer": transformer}[sys.argv[1]]
    serve(job.base_folder() / "model", int(os.environ["SAGEMAKER_BIND_TO_PORT"]))
