"""The role that SageMaker's jobs and endpoints run as."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.constructs.bucket import PrivateBucket
from stacks.constructs.grants import permit
from stacks.constructs.image import Image

SAGEMAKER = "sagemaker.amazonaws.com"


def make_job_role(
    scope: Construct, name: str, *, prefix: str, artefacts: PrivateBucket, image: Image
) -> iam.Role:
    """Make the role: the artefacts, the image, the jobs' own logs and metrics, nothing else."""
    stack = Stack.of(scope)
    role = iam.Role(
        scope,
        name,
        assumed_by=iam.ServicePrincipal(
            SAGEMAKER, conditions={"StringEquals": {"aws:SourceAccount": stack.account}}
        ),
        description="Jobs and endpoints run as this role",
    )
    permit(
        role,
        ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
        [artefacts.objects(scope, f"{folder}/*") for folder in ("snapshots", "runs")],
        why="Jobs name what they write.",
    )
    permit(role, ["s3:ListBucket", "s3:GetBucketLocation"], [artefacts.bucket.bucket_arn])
    groups = ("ProcessingJobs", "TrainingJobs", f"Endpoints/{prefix}-*")
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
    permit(
        role,
        ["cloudwatch:PutMetricData"],
        ["*"],
        conditions={"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}},
        why="A metric has no ARN; the condition admits SageMaker's namespaces only.",
    )
    image.permit_pull(role)
    return role
