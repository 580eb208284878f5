"""A private bucket: encrypted, versioned, logged, closed to the public and to plain HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_s3 as s3
from constructs import Construct


class PrivateBucket(Construct):
    """A bucket of Tidemill's. Its access log goes to `logs`, where one is given."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        keep: bool,
        logs: s3.IBucket | None = None,
        versioned: bool = False,
        rules: Sequence[s3.LifecycleRule] = (),
    ) -> None:
        super().__init__(scope, name)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            versioned=versioned,
            # By name: the CDK would add each bucket to the policy of the bucket of logs, which
            # admits all of the account's already and must not know the stacks after its own.
            server_access_logs_bucket=(
                s3.Bucket.from_bucket_name(self, "Logs", logs.bucket_name) if logs else None
            ),
            server_access_logs_prefix=f"{name}/" if logs else None,
            lifecycle_rules=[
                s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(1)),
                *rules,
            ],
            removal_policy=RemovalPolicy.RETAIN if keep else RemovalPolicy.DESTROY,
        )

    def objects(self, consumer: Construct, key: str) -> str:
        """Return the ARN of the objects `key`, in the form that `consumer`'s stack refers to."""
        owner = Stack.of(self)
        arn = self.bucket.bucket_arn
        if Stack.of(consumer) is not owner:
            # Named here and not at synth, so that a wildcard behind it can be named too.
            arn = str(owner.export_value(arn))
        return f"{arn}/{key}"
