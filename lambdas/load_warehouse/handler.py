"""Loads new files of the lake into the warehouse, several of one model in a transaction."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.adapters.environment import models_directory, read_environment
from lambdas.adapters.manifests import Manifests
from lambdas.adapters.tracing import traced
from lambdas.adapters.warehouse import Warehouse
from lambdas.load_warehouse.batch import Batch
from tidemill.load import Loader, Outcome
from tidemill.model import Model, load_models


@dataclass(frozen=True)
class Environment:
    """What the stack tells this function."""

    lake_bucket: str
    workgroup_name: str
    database: str
    copy_role_arn: str


_RESERVE_SECONDS = 5.0  # kept back to answer which messages failed

environment = read_environment(Environment)
models = load_models(models_directory())
logger = Logger(service="load_warehouse")
metrics = Metrics(service="load_warehouse")
loader = Loader(
    Warehouse(environment.workgroup_name, environment.database),
    Manifests(environment.lake_bucket),
    environment.copy_role_arn,
)


@traced
@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Load the files that a batch of SQS messages with S3 events names.

    Integrations: SQS (partial batch response), S3 (manifests), Redshift Data API. A message
    fails if one of its files does; the files of other messages are loaded all the same.
    """
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS
    batch = Batch.read(event, environment.lake_bucket)
    for error in batch.unreadable.values():
        logger.error("message is no S3 event", extra={"reason": error})
    failed = set(batch.unreadable)
    for name, files in batch.files.items():
        model = models.get(name)
        if model is None:
            logger.error("files of an unknown model", extra={"model": name, "files": list(files)})
            failed |= batch.messages_of(name, files)
            continue
        delivery = max(received for _, received in files.values())
        outcome = loader.load(model, list(files), delivery=delivery, deadline=deadline)
        failed |= batch.messages_of(name, outcome.errors)
        report(model, outcome)
    return {"batchItemFailures": [{"itemIdentifier": message} for message in sorted(failed)]}


def report(model: Model, outcome: Outcome) -> None:
    """Log and count what became of a model's files."""
    logger.info(
        "files loaded",
        extra={"model": model.name, "files": len(outcome.loaded), "new_rows": outcome.new_rows},
    )
    for file, error in outcome.errors.items():
        logger.error("file not loaded", extra={"model": model.name, "file": file}, exc_info=error)
    for metric, value in (
        ("FilesLoaded", len(outcome.loaded)),
        ("FilesFailed", len(outcome.errors)),
        ("RowsLoaded", outcome.new_rows),
    ):
        metrics.add_metric(metric, MetricUnit.Count, value)
