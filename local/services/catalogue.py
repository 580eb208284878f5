"""The services of ours, in the order in which they start."""

from __future__ import annotations

import importlib
from typing import cast

from local.services.base import Service

# Imported by name one after the other, so that each loads its libraries once and in this order.
_PLACES = (
    ("local.services.redshift_serverless", "RedshiftServerless"),
    ("local.services.redshift_data", "RedshiftData"),
    ("local.services.firehose", "Firehose"),
    ("local.services.ecr", "Ecr"),
    ("local.services.codebuild", "CodeBuild"),
    ("local.services.sagemaker", "SageMaker"),
    ("local.services.sagemaker", "SageMakerRuntime"),
)


def _load() -> tuple[type[Service], ...]:
    found = []
    for module, name in _PLACES:
        try:
            found.append(cast(type[Service], getattr(importlib.import_module(module), name)))
        except (ModuleNotFoundError, AttributeError):
            continue
    return tuple(found)


SERVICES: tuple[type[Service], ...] = _load()
