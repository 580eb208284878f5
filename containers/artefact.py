"""The artefact: what a version is made of, and how it predicts.

A folder of `model.onnx` (the trees), `metadata.json` (dictionaries, classes, origin) and
`model.skops` (the same estimator for scikit-learn, see `estimator_file`). Predicting needs the
first two alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from containers.features import Feature
from containers.job import JobError
from containers.tree_graph import INPUT, OUTPUT

FORMAT: Final = 1
GRAPH_FILE: Final = "model.onnx"
METADATA_FILE: Final = "metadata.json"
ESTIMATOR_FILE: Final = "model.skops"


@dataclass(frozen=True)
class Metadata:
    """What `metadata.json` says of a version.

    `classes` are the target's values in the order of the probabilities, empty for a regression.
    `origin` is for people: trainer, rows, libraries and the comparison of the twins.
    """

    model: str
    problem: str
    target: str
    features: tuple[Feature, ...]
    classes: tuple[str | int | bool, ...]
    origin: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the metadata as JSON."""
        return {
            "format": FORMAT,
            "model": self.model,
            "problem": self.problem,
            "target": self.target,
            "features": [feature.to_dict() for feature in self.features],
            "classes": list(self.classes),
            "origin": dict(self.origin),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Metadata:
        """Read what `to_dict` wrote; raises JobError where it is of another format."""
        if document.get("format") != FORMAT:
            raise JobError(f"{METADATA_FILE} has format {document.get('format')!r}, not {FORMAT}")
        return cls(
            model=document["model"],
            problem=document["problem"],
            target=document["target"],
            features=tuple(Feature.from_dict(feature) for feature in document["features"]),
            classes=tuple(document["classes"]),
            origin=document["origin"],
        )


class Artefact:
    """A version that can predict: its metadata and its trees, loaded."""

    def __init__(self, metadata: Metadata, graph: bytes) -> None:
        """Load the graph; one thread, since a row takes microseconds and the rest is overhead."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.metadata = metadata
        self._session = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )

    @classmethod
    def load(cls, folder: Path) -> Artefact:
        """Load the artefact in `folder`.

        Raises JobError where a file is missing or is not what it should be.
        """
        try:
            document = json.loads((folder / METADATA_FILE).read_bytes())
            return cls(Metadata.from_dict(document), (folder / GRAPH_FILE).read_bytes())
        # onnxruntime's own errors have no common root but RuntimeError and Exception.
        except JobError:
            raise
        except Exception as error:
            raise JobError(f"the artefact in {folder} cannot be loaded: {error}") from error

    def values(
        self, features: npt.NDArray[np.float64] | Sequence[Sequence[float]]
    ) -> npt.NDArray[np.float64]:
        """Return the trees' output for rows of features: (rows, 1) or (rows, classes) doubles.

        See `tree_graph` for its meaning.
        """
        inputs = {INPUT: np.asarray(features, dtype=np.float64)}
        output: npt.NDArray[np.float64] = self._session.run([OUTPUT], inputs)[0]
        return output

    def probabilities(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return (rows, classes) probabilities, in the order of the classes."""
        if values.shape[1] == 1:
            return np.concatenate([1.0 - values, values], axis=1)
        return values

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The features' names, in order."""
        return tuple(feature.name for feature in self.metadata.features)
