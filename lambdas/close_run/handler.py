"""Closes a run, however it ended: records the end, releases the lock, tells of a failure.

The state machine calls it as its last step; EventBridge calls it when an execution failed, timed
out or was aborted, for then the last step may never have come. Calling it again changes nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.adapters import endpoint, notices
from lambdas.adapters.endpoint import EndpointBusyError, Step
from lambdas.adapters.environment import read_environment
from lambdas.adapters.ledger import Ledger
from lambdas.adapters.tracing import traced
from tidemill import run
from tidemill.ledger import RunState
from tidemill.run import Ending


@dataclass(frozen=True)
class Environment:
    """What the stack tells this function."""

    ledger_table: str
    name_prefix: str
    topic_arn: str


_PAUSE_SECONDS = 1.0
_RESERVE_SECONDS = 15.0  # kept back for the ledger when waiting for the endpoint

environment = read_environment(Environment)
ledger = Ledger(environment.ledger_table)
logger = Logger()
metrics = Metrics()


@logger.inject_lambda_context
@traced
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Close the run of `tidemill.run.Ending`; return its state, whether this call
    closed it, and why it failed, for people to read.

    Integrations: DynamoDB, SNS; SageMaker where EventBridge calls. Raises RunError for an event
    that tells of no run's end, EndpointBusyError to be called again.
    """
    ending = Ending.read(event)
    logger.append_keys(model=ending.model, run_id=ending.run_id)
    if ending.outcome is not None:
        state = RunState(ending.outcome["decision"])
    elif ending.reported:
        state = RunState.FAILED
    else:
        state = ledger.state_of_ended(ending.model, ending.run_id)
        held = ledger.lock(ending.model)
        if held and held.execution_arn == ending.execution_arn:
            bring_champion_back(ending.model, context)
    error = ending.error if state is RunState.FAILED else ""
    closed = ledger.close(ending.model, ending.run_id, ending.execution_arn, state, error)
    if closed and state is RunState.FAILED:
        tell_of_failure(ending)
    logger.info("run closed", extra={"state": str(state), "by_this_call": closed})
    return {
        "model": ending.model,
        "run_id": ending.run_id,
        "state": str(state),
        "closed": closed,
        "error": error,
    }


def bring_champion_back(model: str, context: LambdaContext) -> None:
    """Leave the endpoint with the champion, or none before the first; waits for it to settle.

    Raises EndpointBusyError where time runs out; EventBridge then has the function called again.
    """
    champion = ledger.champion(model)
    name = run.endpoint_name(environment.name_prefix, model)
    config = champion.endpoint_config if champion else None
    while endpoint.bring_back(name, config) is not Step.DONE:
        if context.get_remaining_time_in_millis() / 1000 < _RESERVE_SECONDS + _PAUSE_SECONDS:
            raise EndpointBusyError(f"{name} did not come back to {config or 'nothing'} in time")
        time.sleep(_PAUSE_SECONDS)


def tell_of_failure(ending: Ending) -> None:
    """Publish a failed run; news that cannot be delivered must not keep the run open."""
    metrics.add_dimension("model", ending.model)
    metrics.add_metric("RunFailed", MetricUnit.Count, 1)
    metrics.flush_metrics()
    logger.error("run failed", extra={"reason": ending.error})
    subject = f"Tidemill: {ending.model} run {ending.run_id} failed"
    document = {
        "model": ending.model,
        "run_id": ending.run_id,
        "decision": str(RunState.FAILED),
        "error": ending.error,
        "execution_arn": ending.execution_arn,
    }
    try:
        notices.publish(environment.topic_arn, subject, document)
    except notices.ERRORS:
        logger.exception("the failure could not be published")
