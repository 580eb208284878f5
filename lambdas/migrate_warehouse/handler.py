"""Brings the warehouse's tables, users and rights to what the model files ask for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.adapters.cloudformation import respond
from lambdas.adapters.environment import models_directory, read_environment
from lambdas.adapters.tracing import traced
from lambdas.adapters.warehouse import Warehouse
from tidemill.errors import StatementConflictError
from tidemill.migration import migrate
from tidemill.model import load_models


@dataclass(frozen=True)
class Environment:
    """What the stack tells this function."""

    workgroup_name: str
    database: str
    admin_secret_arn: str
    loader_role_name: str
    extractor_role_name: str


_RESERVE_SECONDS = 45.0  # kept back to answer CloudFormation, which waits an hour otherwise
_ATTEMPTS = 5
_PHYSICAL_ID = "warehouse-migration"

environment = read_environment(Environment)
logger = Logger(service="migrate_warehouse")


@dataclass(frozen=True)
class Administration:
    """The warehouse as its administrator, until a deadline; lost conflicts are tried again."""

    warehouse: Warehouse
    deadline: float

    def query(self, statement: str) -> list[list[Any]]:
        """Return the rows of a query."""
        return self.warehouse.query(statement, deadline=self.deadline)

    def execute(self, statement: str) -> str:
        """Run one statement outside any transaction."""
        return self.warehouse.execute(statement, deadline=self.deadline)

    def transaction(self, statements: Sequence[str]) -> list[int]:
        """Run statements as one transaction."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return self.warehouse.transaction(statements, deadline=self.deadline)
            except StatementConflictError:
                logger.warning("transaction lost a conflict", extra={"attempt": attempt})
                self.warehouse.sleep(0.1 * 2**attempt)
        return self.warehouse.transaction(statements, deadline=self.deadline)


@traced
@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer a custom resource, or a direct call with any event that has no `ResponseURL`.

    The resource's property `Version` names the state of models and SQL that is asked for.
    Integrations: Redshift Data API (as the administrator, by the managed secret),
    CloudFormation's answer address. Returns `{"changes": […]}`; deleting the resource changes
    nothing. A direct call raises MigrationError, WarehouseError or ModelFileError.
    """
    if "ResponseURL" not in event:
        return {"changes": apply(context, "")}
    try:
        version = str(event.get("ResourceProperties", {}).get("Version", ""))
        changes = [] if event["RequestType"] == "Delete" else apply(context, version)
    except Exception as error:
        # Whatever it is: a resource without an answer would hang the deployment.
        logger.exception("the warehouse could not be migrated")
        respond(event, "FAILED", _PHYSICAL_ID, reason=f"{type(error).__name__}: {error}")
        return {"changes": []}
    respond(event, "SUCCESS", _PHYSICAL_ID, {"Changes": str(len(changes))})
    return {"changes": changes}


def apply(context: LambdaContext, version: str) -> list[str]:
    """Migrate to what the files say, called `version`, and return what was changed, in words."""
    left = context.get_remaining_time_in_millis() / 1000 - _RESERVE_SECONDS
    warehouse = Warehouse(
        environment.workgroup_name, environment.database, environment.admin_secret_arn
    )
    changes = migrate(
        Administration(warehouse, time.monotonic() + left),
        load_models(models_directory()).values(),
        database=environment.database,
        loader_role=environment.loader_role_name,
        extractor_role=environment.extractor_role_name,
        version=version,
    )
    for change in changes:
        logger.info("changed", extra={"change": change})
    return changes
