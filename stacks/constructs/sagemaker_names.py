"""ARNs of what runs make in SageMaker: all of it is named with the deployment's prefix."""

from __future__ import annotations

from aws_cdk import Aws


def sagemaker_arn(prefix: str, kind: str) -> str:
    """Return the pattern of the ARNs of this deployment's resources of a kind (`endpoint`)."""
    return f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}:{kind}/{prefix}-*"
