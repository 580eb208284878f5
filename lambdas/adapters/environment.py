"""A function's environment variables, typed and read once, when the function starts."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def read_environment(kind: type[T]) -> T:
    """Fill a dataclass of texts: the field `ledger_table` from LEDGER_TABLE and so on.

    Raises RuntimeError, naming all of them, where variables are missing or empty.
    """
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]  # T is a dataclass
    missing = [name.upper() for name in names if not os.environ.get(name.upper())]
    if missing:
        raise RuntimeError(f"environment variables are missing: {', '.join(missing)}")
    return kind(**{name: os.environ[name.upper()] for name in names})


def models_directory() -> Path:
    """Return the folder of the model files: MODELS_DIR, or `models` beside `lambdas`."""
    default = Path(__file__).resolve().parents[2] / "models"
    return Path(os.environ.get("MODELS_DIR") or default)
