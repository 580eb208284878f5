"""Opens a run: takes the model's lock and plans everything that the state machine will do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.adapters import artefacts, endpoint, executions
from lambdas.adapters.endpoint import EndpointBusyError, Step
from lambdas.adapters.environment import models_directory, read_environment
from lambdas.adapters.ledger import Ledger
from lambdas.adapters.tracing import traced
from tidemill import run, warehouse
from tidemill.model import load_model
from tidemill.run import Request, RunError


@dataclass(frozen=True)
class Environment:
    """What the stack tells this function."""

    ledger_table: str
    artefacts_bucket: str
    unload_role_arn: str
    name_prefix: str


environment = read_environment(Environment)
ledger = Ledger(environment.ledger_table)
logger = Logger()


@logger.inject_lambda_context
@traced
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Return the plan (`tidemill.run.Plan`) of `{"execution_arn", "started_at", "input"}`.

    Integrations: DynamoDB, S3 (the model's specification), Step Functions and SageMaker (only to
    take over the lock of a run that is dead). Raises RunError, RunInProgressError,
    EndpointBusyError (to be tried again), ModelFileError.
    """
    execution_arn = event["execution_arn"]
    request = Request.read(event["input"])
    file = models_directory() / f"{request.model}.toml"
    if file.parent != models_directory() or not file.is_file():
        known = ", ".join(sorted(path.stem for path in models_directory().glob("*.toml")))
        raise RunError(f"there is no model {request.model!r}; there are: {known}")
    model = load_model(file)
    run_id = run.run_id(execution_arn, run.moment(event["started_at"]))
    logger.append_keys(model=model.name, run_id=run_id)

    take_over_from_the_dead(model.name, execution_arn)
    ledger.open_run(request, run_id, execution_arn)
    uri = run.snapshot_uri(environment.artefacts_bucket, model.name, run_id)
    plan = run.plan(
        model,
        run=run_id,
        actor=request.actor,
        prefix=environment.name_prefix,
        bucket=environment.artefacts_bucket,
        unload_sql=warehouse.unload_sql(model, uri, environment.unload_role_arn),
        champion=ledger.champion(model.name),
    )
    artefacts.write_json(f"{plan.spec_uri}model.json", model.to_dict())
    logger.info("run opened", extra={"champion": plan.champion and plan.champion.version})
    return plan.to_dict()


def take_over_from_the_dead(model: str, execution_arn: str) -> None:
    """Close the run that holds the lock, if its execution has ended without doing so.

    Raises EndpointBusyError where the endpoint, which that run may have left with a challenger,
    cannot be brought back yet.
    """
    held = ledger.lock(model)
    if held is None or held.execution_arn == execution_arn:
        return
    if executions.is_running(held.execution_arn):
        return  # opening the run says who holds the lock
    champion = ledger.champion(model)
    name = run.endpoint_name(environment.name_prefix, model)
    if endpoint.bring_back(name, champion.endpoint_config if champion else None) is Step.BUSY:
        raise EndpointBusyError(f"{name} still changes after run {held.run_id}: try again later")
    state = ledger.state_of_ended(model, held.run_id)
    ledger.close(model, held.run_id, held.execution_arn, state, error="the execution ended unheard")
    logger.warning("lock taken over", extra={"from_run": held.run_id, "its_state": str(state)})
