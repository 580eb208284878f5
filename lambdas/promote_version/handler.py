"""Promotes a verified version: from here on the ledger calls it the champion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.adapters.environment import read_environment
from lambdas.adapters.ledger import Ledger
from lambdas.adapters.tracing import traced
from tidemill.ledger import Champion
from tidemill.run import Plan


@dataclass(frozen=True)
class Environment:
    """What the stack tells this function."""

    ledger_table: str


ledger = Ledger(read_environment(Environment).ledger_table)
logger = Logger()


@logger.inject_lambda_context
@traced
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Promote the version of `{"plan", "version", "artefact_uri", "execution_arn"}`.

    Integrations: DynamoDB. Raises LostLockError, LedgerError.
    """
    plan = Plan.from_dict(event["plan"])
    challenger = Champion(
        version=event["version"],
        run_id=plan.run_id,
        artefact_uri=event["artefact_uri"],
        endpoint_config=plan.release_name,
    )
    ledger.promote(plan.model, challenger, plan.champion, event["execution_arn"])
    former = plan.champion.version if plan.champion else None
    logger.info("promoted", extra={"model": plan.model, "version": event["version"]})
    return {"champion": challenger.version, "former": former}
