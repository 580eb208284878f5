"""Documents that outlive the process: one JSON file each, replaced whole."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from threading import RLock
from urllib.parse import quote, unquote
from uuid import uuid4

from local.services.base import Document


class Shelf:
    """A durable mapping of names to JSON documents, for many threads.

    What is read is a copy, so only `put` and `change` alter what is kept. A file is replaced by a
    rename: whoever kills the process leaves either the old document or the new one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = RLock()
        self._documents: dict[str, Document] = {}
        for path in sorted(directory.glob("*.json")):
            self._documents[unquote(path.stem)] = json.loads(path.read_text())

    def get(self, name: str) -> Document | None:
        """Return the document, or None."""
        with self._lock:
            return copy.deepcopy(self._documents.get(name))

    def __contains__(self, name: str) -> bool:
        return name in self._documents

    def values(self) -> list[Document]:
        """Return every document in the order in which they were first put."""
        with self._lock:
            return copy.deepcopy(list(self._documents.values()))

    def put(self, name: str, document: Document) -> None:
        """Keep the document under the name; it is on disk when this returns."""
        with self._lock:
            self._directory.mkdir(parents=True, exist_ok=True)
            path = self._path(name)
            draft = path.with_name(f".{uuid4().hex}")
            draft.write_text(json.dumps(document))
            draft.replace(path)
            self._documents[name] = copy.deepcopy(document)

    def add(self, name: str, document: Document) -> bool:
        """Keep a document under a new name; False, and nothing done, if the name is taken."""
        with self._lock:
            if name in self._documents:
                return False
            self.put(name, document)
            return True

    def change(self, name: str, **members: object) -> Document:
        """Set members of a document and return it; KeyError if there is none."""
        with self._lock:
            document = {**self._documents[name], **members}
            self.put(name, document)
            return copy.deepcopy(document)

    def remove(self, name: str) -> bool:
        """Forget a document; False if there was none."""
        with self._lock:
            if self._documents.pop(name, None) is None:
                return False
            self._path(name).unlink(missing_ok=True)
            return True

    def _path(self, name: str) -> Path:
        return self._directory / f"{quote(name, safe='')}.json"
