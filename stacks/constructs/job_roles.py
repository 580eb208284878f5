"""The roles that SageMaker works as: one for the jobs, a smaller one for the endpoints."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.constructs.bucket import PrivateBucket
from stacks.constructs.grants import permit
from stacks.constructs.image import Image

SAGEMAKER = "sagemaker.amazonaws.com"


def make_job_role(
    scope: Construct, name: str, *, artefacts: PrivateBucket, image: Image
) -> iam.Role:
    """Make the jobs' role: the artefacts, the image, the jobs' own logs and metrics."""
    role = _make(scope, name, "Jobs run as this role", image)
    permit(
        role,
        ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
        [artefacts.objects(scope, f"{folder}/*") for folder in ("snapshots", "runs")],
        why="Jobs name what they write.",
    )
    permit(role, ["s3:ListBucket", "s3:GetBucketLocation"], [artefacts.bucket.bucket_arn])
    _permit_logs(role, "ProcessingJobs", "TrainingJobs")
    return role


def make_endpoint_role(
    scope: Construct, name: str, *, prefix: str, artefacts: PrivateBucket, image: Image
) -> iam.Role:
    """Make the endpoints' role: the trained models, the image, the endpoints' logs and metrics.

    It writes nothing that a run reads, and reads no rows.
    """
    role = _make(scope, name, "Endpoints run as this role", image)
    permit(
        role,
        ["s3:GetObject"],
        [artefacts.objects(scope, "runs/*/model.tar.gz")],
        why="A trained model is named after its run.",
    )
    _permit_logs(role, f"Endpoints/{prefix}-*")
    return role


def _make(scope: Construct, name: str, description: str, image: Image) -> iam.Role:
    role = iam.Role(
        scope,
        name,
        assumed_by=iam.ServicePrincipal(
            SAGEMAKER, conditions={"StringEquals": {"aws:SourceAccount": Stack.of(scope).account}}
        ),
        description=description,
    )
    permit(
        role,
        ["cloudwatch:PutMetricData"],
        ["*"],
        conditions={"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}},
        why="A metric has no ARN; the condition admits SageMaker's namespaces only.",
    )
    image.permit_pull(role)
    return role


def _permit_logs(role: iam.Role, *groups: str) -> None:
    stack = Stack.of(role)
    permit(
        role,
        [
            "logs:CreateLogGroup",
            "logs:CreateLogStream",
            "logs:DescribeLogStreams",
            "logs:PutLogEvents",
        ],
        [
            f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:"
            f"log-group:/aws/sagemaker/{group}:*"
            for group in groups
        ],
        why="SageMaker names the log streams, and an endpoint's log group, itself.",
    )
