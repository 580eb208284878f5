"""Verifies a release: the endpoint runs the new version and predicts what was trained."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.adapters import artefacts, endpoint
from lambdas.adapters.tracing import traced
from tidemill.errors import TidemillError
from tidemill.release import differences
from tidemill.run import Plan

logger = Logger()


class ReleaseError(TidemillError):
    """The endpoint does not serve what was to be released."""


@logger.inject_lambda_context
@traced
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Check `{"plan", "version"}` and return how many smoke predictions agreed.

    Integrations: S3 (the evaluation), SageMaker, SageMaker Runtime. Raises ReleaseError.
    """
    plan = Plan.from_dict(event["plan"])
    found = endpoint.describe(plan.endpoint_name)
    if found is None or (found.status, found.config) != ("InService", plan.release_name):
        raise ReleaseError(f"{plan.endpoint_name} does not serve {plan.release_name}: {found}")
    smoke = artefacts.read_json(f"{plan.evaluation_uri}evaluation.json")["smoke"]
    answer = endpoint.predict(plan.endpoint_name, [row["features"] for row in smoke])
    expected = [row["prediction"] for row in smoke]
    problems = differences(answer, plan.model, event["version"], expected)
    if problems:
        raise ReleaseError(f"{plan.endpoint_name} does not predict as trained: {problems[0]}")
    logger.info("release verified", extra={"version": event["version"], "rows": len(smoke)})
    return {"verified_rows": len(smoke)}
