"""The training job: fits the model's trainer and writes the artefact, twins compared.

Reads the channels `train`, `spec` and, if there is one, `holdout` below `input/data`, and
`input/config/hyperparameters.json`; writes `model/`. Held-out rows are never fitted on: after
the fit they show that model.onnx answers as model.skops does.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from containers import artefact, job
from containers.artefact import Artefact, Metadata
from containers.dataset import feature_matrix, fit_features, read_dataset
from containers.estimator_file import read_estimator, write_estimator
from containers.features import Feature
from containers.job import JobError
from containers.trainer import MAX_CLASSES, fit, with_hyperparameters
from containers.tree_graph import tree_graph
from tidemill.model import Model

TWIN_TOLERANCE: Final = 1e-4
TWIN_ROWS: Final = 50_000
"""The most rows that the twins are compared on."""


def train(base: Path) -> str:
    """Do the job under `base`; return a line that says what was trained.

    Raises JobError where there is nothing to learn from, ModelFileError for hyperparameters.
    """
    data, started = base / "input" / "data", time.perf_counter()
    model = with_hyperparameters(job.read_model(data / "spec"), _hyperparameters(base))
    rows = read_dataset(data / "train", model)
    target, classes = _target(rows, model)
    features = fit_features(rows, model.features)
    matrix = feature_matrix(rows, features)
    estimator = fit(model, matrix, target)
    seconds = time.perf_counter() - started

    folder = base / "model"
    folder.mkdir(parents=True, exist_ok=True)
    write_estimator(folder / artefact.ESTIMATOR_FILE, estimator)
    graph = tree_graph(estimator, len(features))
    (folder / artefact.GRAPH_FILE).write_bytes(graph)
    origin: dict[str, Any] = {
        "trainer": model.to_dict()["trainer"],
        "iterations": int(estimator.n_iter_),
        "rows": rows.num_rows,
        "libraries": _libraries(),
    }
    metadata = Metadata(model.name, model.problem, model.target, features, classes, origin)
    origin["twin"] = _compare_twins(base, model, Artefact(metadata, graph), matrix)
    job.write_json(folder / artefact.METADATA_FILE, metadata.to_dict())
    return (
        f"trained rows={rows.num_rows} iterations={estimator.n_iter_} fit_seconds={seconds:.2f} "
        f"twin_difference={origin['twin']['largest_difference']:.3g}"
    )


def _hyperparameters(base: Path) -> dict[str, str]:
    file = base / "input" / "config" / "hyperparameters.json"
    if not file.exists():
        return {}
    try:
        document = json.loads(file.read_bytes())
    except ValueError as error:
        raise JobError(f"{file.name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise JobError(f"{file.name} is not a JSON object")
    return {name: str(value) for name, value in document.items()}


def _target(rows: pa.Table, model: Model) -> tuple[npt.NDArray[Any], tuple[str | int | bool, ...]]:
    """Return what to fit: numbers, or class indices and the classes in sorted order."""
    column = rows.column(model.target)
    if not rows.num_rows:
        raise JobError(f"there are no rows to train {model.name} on")
    if column.null_count:
        raise JobError(
            f"the target {model.target} is null in {column.null_count} of {rows.num_rows} rows"
        )
    if model.problem == "regression":
        numbers = np.asarray(column.cast(pa.float64(), safe=False))
        if not np.isfinite(numbers).all():
            raise JobError(f"the target {model.target} is not finite in every row")
        return numbers, ()
    values = sorted(pc.unique(column).to_pylist())
    allowed = 2 if model.problem == "binary" else MAX_CLASSES
    if not 2 <= len(values) <= allowed:
        raise JobError(
            f"the target {model.target} has {len(values)} classes; "
            f"{model.problem} takes {'2' if allowed == 2 else f'2 to {allowed}'}"
        )
    indices = pc.index_in(column, pa.array(values, type=column.type))
    return np.asarray(indices), tuple(values)


def _compare_twins(
    base: Path, model: Model, onnx: Artefact, trained: npt.NDArray[np.float64]
) -> dict[str, Any]:
    """Compare the files' answers, on held-out rows if there are some; raise where they differ."""
    holdout, features = base / "input" / "data" / "holdout", onnx.metadata.features
    matrix, checked_on = trained, "train"
    if holdout.exists():
        matrix, checked_on = _held_out(holdout, model, features), "holdout"
    matrix = matrix[:TWIN_ROWS]
    estimator = read_estimator(base / "model" / artefact.ESTIMATOR_FILE)
    values = onnx.values(matrix)
    if model.problem == "regression":
        difference = np.abs(values[:, 0] - estimator.predict(matrix))
    else:
        difference = np.abs(onnx.probabilities(values) - estimator.predict_proba(matrix))
    largest = float(difference.max())
    if not largest <= TWIN_TOLERANCE:
        raise JobError(
            f"model.onnx differs from model.skops by {largest:g}, more than {TWIN_TOLERANCE:g}"
        )
    return {"largest_difference": largest, "rows": len(matrix), "checked_on": checked_on}


def _held_out(folder: Path, model: Model, features: tuple[Feature, ...]) -> npt.NDArray[np.float64]:
    rows = read_dataset(folder, model)
    if not rows.num_rows:
        raise JobError("the channel holdout has no rows")
    return feature_matrix(rows, features)


def _libraries() -> dict[str, str]:
    import onnx
    import onnxruntime
    import sklearn
    import skops

    modules = {"onnx": onnx, "onnxruntime": onnxruntime, "scikit-learn": sklearn, "skops": skops}
    versions = {name: module.__version__ for name, module in modules.items()}
    return {"python": sys.version.split()[0], "numpy": np.__version__, **versions}


def main() -> int:
    """Run the job; return the exit code."""
    return job.run(train, "failure")


if __name__ == "__main__":
    sys.exit(main())
