"""AWS's API definitions as botocore ships them, read once for the whole process.

Each boto3 session reads its own: some 10 MB a session, much of it the documentation and the
OrderedDicts that it is kept in. Here they are plain dicts without the documentation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.loaders
import botocore.model


class _Files(botocore.loaders.JSONFileLoader):
    def _load_file(self, full_path: str, open_method: Callable[..., Any]) -> Any:
        if not Path(full_path).is_file():
            return None
        with open_method(full_path, "rb") as file:
            return json.loads(file.read(), object_pairs_hook=_without_documentation)


def _without_documentation(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # The key stays, for botocore looks some up. Of a member of this name the value is no text.
    return {k: "" if k == "documentation" and isinstance(v, str) else v for k, v in pairs}


LOADER = botocore.loaders.Loader(file_loader=_Files())
"""For sessions of botocore, too, as their component `data_loader`."""


def service_model(service: str) -> botocore.model.ServiceModel:
    """The API of a service by its botocore name."""
    return botocore.model.ServiceModel(LOADER.load_service_model(service, "service-2"), service)
