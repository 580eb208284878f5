"""What every job shares: the /opt/ml folders, the model's specification, and how a job fails."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from tidemill.errors import TidemillError
from tidemill.model import Model

# SageMaker cuts FailureReason and ExitMessage at 1,024 characters.
REASON_LENGTH = 1024


class JobError(TidemillError):
    """The job's input cannot be worked with; the text says what is wrong and where."""


def base_folder() -> Path:
    """Return the root of SageMaker's folders: SAGEMAKER_BASE_DIR, or /opt/ml."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def read_model(spec: Path) -> Model:
    """Read `model.json` from the folder `spec`.

    Raises JobError where it is missing or no JSON, ModelFileError where it breaks a rule.
    """
    file = spec / "model.json"
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise JobError(f"the model's specification {file} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise JobError(f"the model's specification {file} is not a JSON object")
    return Model.from_dict(document)


def write_json(file: Path, document: object) -> None:
    """Write `document` as JSON without NaN, making the folder; values must be finite."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def run(job: Callable[[Path], str], reason: str) -> int:
    """Run `job` on the base folder, print the line it returns, and return the exit code.

    A failure is told on stderr and in `<base>/output/<reason>`, where SageMaker looks for the
    reason of a training job (`failure`) or of a processing job (`message`). A TidemillError is
    told without a traceback: its text is meant for whoever sent the input.
    """
    base = base_folder()
    try:
        print(job(base), flush=True)
    except Exception as error:
        text = str(error)
        if not isinstance(error, TidemillError):
            traceback.print_exc()
            text = f"unexpected {type(error).__name__}: {error}"
        print(text, file=sys.stderr)
        (base / "output").mkdir(parents=True, exist_ok=True)
        (base / "output" / reason).write_text(text[:REASON_LENGTH], encoding="utf-8")
        return 1
    return 0
