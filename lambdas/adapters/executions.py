"""Step Functions' executions."""

from __future__ import annotations

from lambdas.adapters.clients import client


def is_running(execution_arn: str) -> bool:
    """Whether the execution still runs; one that is not known has ended."""
    states = client("stepfunctions")
    try:
        return bool(states.describe_execution(executionArn=execution_arn)["status"] == "RUNNING")
    except states.exceptions.ExecutionDoesNotExist:
        return False
