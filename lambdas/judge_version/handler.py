"""Judges a challenger: the gate decides, the ledger numbers and records the version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.adapters import artefacts
from lambdas.adapters.environment import read_environment
from lambdas.adapters.ledger import Ledger
from lambdas.adapters.tracing import traced
from tidemill import gate
from tidemill.ledger import VersionState
from tidemill.model import Model
from tidemill.run import Plan


@dataclass(frozen=True)
class Environment:
    """What the stack tells this function."""

    ledger_table: str


ledger = Ledger(read_environment(Environment).ledger_table)
logger = Logger()
metrics = Metrics()


@logger.inject_lambda_context
@metrics.log_metrics
@traced
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Return the verdict on `{"plan", "artefact_uri", "image_uri"}`: the run's output but for
    `decision`, which is `registered` or `rejected`.

    Integrations: S3 (the evaluation), DynamoDB. Raises EvaluationError, LedgerError.
    """
    plan = Plan.from_dict(event["plan"])
    model = Model.from_dict(artefacts.read_json(f"{plan.spec_uri}model.json"))
    evaluation = artefacts.read_json(f"{plan.evaluation_uri}evaluation.json")
    champion = plan.champion.version if plan.champion else None
    judgement = gate.judge(model.gate, evaluation, champion)
    state = VersionState.REGISTERED if judgement.passed else VersionState.REJECTED
    reasons = [reason.to_dict() for reason in judgement.reasons]

    number = ledger.allot_version(plan.model, plan.run_id)
    ledger.record_version(
        plan.model,
        number,
        state,
        {
            "run_id": plan.run_id,
            "actor": plan.actor,
            "artefact_uri": event["artefact_uri"],
            "artefact_digest": evaluation["artefact_digest"],
            "image_uri": event["image_uri"],
            "snapshot_uri": plan.snapshot_uri,
            "dataset_hash": evaluation["dataset_hash"],
            "endpoint_config": plan.release_name,
            "evaluation_uri": plan.evaluation_uri,
            "spec_uri": plan.spec_uri,
            "held_out_rows": evaluation["rows"],
            "metrics": evaluation["challenger"]["metrics"],
            "reasons": reasons,
        },
    )
    for reason in judgement.reasons:
        logger.info(reason.text, extra={"rule": reason.rule, "passed": reason.passed})
    metrics.add_dimension("model", plan.model)
    passed = "VersionRegistered" if judgement.passed else "VersionRejected"
    metrics.add_metric(passed, MetricUnit.Count, 1)
    return {
        "model": plan.model,
        "run_id": plan.run_id,
        "version": number,
        "decision": str(state),
        "reasons": reasons,
        "metrics": evaluation["challenger"]["metrics"],
        "endpoint_name": plan.endpoint_name,
    }
