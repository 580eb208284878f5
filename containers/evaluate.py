"""The evaluation job: judges challenger and champion by the same held-out rows.

Reads `challenger/model.tar.gz`, `champion/model.tar.gz` (if there is one), `holdout`, `spec` and
`profile` below `processing/input`; writes `processing/output/evaluation/evaluation.json`. It
predicts with what will serve, the ONNX graph, and loads no scikit-learn: the training job has
compared the twins.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
import tempfile
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from containers import job
from containers.artefact import Artefact, Metadata
from containers.dataset import feature_matrix, read_dataset
from containers.job import JobError
from containers.metrics import UNKNOWN_CLASS, classification_metrics, regression_metrics
from tidemill.model import Model

SMOKE_ROWS: Final = 5


def evaluate(base: Path) -> str:
    """Do the job under `base`; return a line that says how the versions did.

    Raises JobError where the challenger or the held-out rows are missing or no good.
    """
    source = base / "processing" / "input"
    model = job.read_model(source / "spec")
    profile = _read_profile(source / "profile")
    rows = read_dataset(source / "holdout", model)
    if not rows.num_rows:
        raise JobError(f"no row of {model.name} is held out: nothing to judge a version by")
    archive = source / "challenger" / "model.tar.gz"
    challenger = load_archive(archive)
    difference = _other_shape(challenger.metadata, model)
    if difference:
        raise JobError(f"the challenger is not a version of this model: {difference}")
    evaluation: dict[str, Any] = {
        "rows": rows.num_rows,
        "snapshot_rows": profile["rows"],
        "dataset_hash": profile["dataset_hash"],
        "challenger": {"metrics": judge(challenger, rows)},
        "champion": None,
        "twin": challenger.metadata.origin["twin"],
        "smoke": smoke_rows(challenger, rows),
        "artefact_digest": hashlib.sha256(archive.read_bytes()).hexdigest(),
    }
    champion_archive = source / "champion" / "model.tar.gz"
    if champion_archive.exists():
        champion = load_archive(champion_archive)
        difference = _other_shape(champion.metadata, model)
        if difference:
            evaluation["champion_skipped"] = difference
        else:
            evaluation["champion"] = {"metrics": judge(champion, rows)}
    job.write_json(base / "processing" / "output" / "evaluation" / "evaluation.json", evaluation)
    metric = model.gate.metric
    told = [f"{metric}={evaluation['challenger']['metrics'][metric]}"]
    if evaluation["champion"]:
        told.append(f"champion_{metric}={evaluation['champion']['metrics'][metric]}")
    return f"evaluated rows={rows.num_rows} " + " ".join(told)


def load_archive(archive: Path) -> Artefact:
    """Load the artefact of a `model.tar.gz`.

    Raises JobError where it is missing, no archive, or holds no artefact.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tarfile.open(archive, "r:gz") as tar:
                # The filter refuses paths and links that lead out of the folder.
                tar.extractall(folder, filter="data")
        except (OSError, tarfile.TarError) as error:
            raise JobError(f"{archive} is not an artefact: {error}") from error
        return Artefact.load(Path(folder))


def judge(version: Artefact, rows: pa.Table) -> dict[str, float | None]:
    """Return the metrics of a version on rows with a known target; an undefined one is None."""
    metadata = version.metadata
    values = version.values(feature_matrix(rows, metadata.features))
    target = rows.column(metadata.target)
    if metadata.problem == "regression":
        truth = np.asarray(target.cast(pa.float64(), safe=False))
        return regression_metrics(truth, values[:, 0])
    known = pa.array(metadata.classes, type=target.type)
    indices = np.asarray(pc.fill_null(pc.index_in(target, known), UNKNOWN_CLASS))
    return classification_metrics(indices.astype(np.int64), version.probabilities(values))


def smoke_rows(version: Artefact, rows: pa.Table) -> list[dict[str, Any]]:
    """Return a few held-out rows as requests, with the prediction that must come back."""
    sample = rows.slice(0, SMOKE_ROWS)
    values = version.values(feature_matrix(sample, version.metadata.features))
    requests = sample.select(list(version.columns)).to_pylist()
    return [
        {
            "features": {name: _json_value(value) for name, value in request.items()},
            "prediction": _prediction(version, row),
        }
        for request, row in zip(requests, values, strict=True)
    ]


def _prediction(version: Artefact, row: npt.NDArray[np.float64]) -> Any:
    if version.metadata.problem == "regression":
        return float(row[0])
    probabilities = version.probabilities(row[np.newaxis])[0]
    return version.metadata.classes[int(probabilities.argmax())]


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not np.isfinite(value):
        return None  # JSON has no NaN; to the trees it is the same as null.
    return value


def _other_shape(version: Metadata, model: Model) -> str | None:
    """Say why a version cannot be judged by this model's rows, None if it can."""
    kinds = {column.name: column.type.kind for column in model.features}
    if (version.problem, version.target) != (model.problem, model.target):
        return (
            f"it is a {version.problem} of {version.target}, "
            f"the model a {model.problem} of {model.target}"
        )
    for feature in version.features:
        if kinds.get(feature.name) != feature.kind:
            return f"its feature {feature.name} {feature.kind} is not the model's"
    return None


def _read_profile(folder: Path) -> dict[str, Any]:
    file = folder / "profile.json"
    try:
        profile: dict[str, Any] = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise JobError(f"the snapshot's profile {file} cannot be read: {error}") from error
    return profile


def main() -> int:
    """Run the job; return the exit code."""
    return job.run(evaluate, "message")


if __name__ == "__main__":
    sys.exit(main())
