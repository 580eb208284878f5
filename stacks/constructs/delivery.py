"""The delivery stream: records of the stream, transformed, into the lake, by model."""

from __future__ import annotations

from aws_cdk import Aws, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.constructs.bucket import PrivateBucket
from stacks.constructs.grants import acknowledge, permit

# The least that dynamic partitioning takes.
BUFFER_MB = 64
BUFFER_SECONDS = 60
# The least that Firehose takes: a transform answers with at most 6 MB, base64 included, and a row
# of a few bytes grows manifold by the 34 of its two ids.
TRANSFORM_MB = 0.2
TRANSFORM_SECONDS = 60


class Delivery(Construct):
    """A Firehose stream with a role and a log of its own."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        stream: kinesis.Stream,
        transform: lambda_.Function,
        lake: PrivateBucket,
        log_retention: logs.RetentionDays,
    ) -> None:
        super().__init__(scope, name)
        log_group = logs.LogGroup(
            self, "Logs", retention=log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        log_stream = log_group.add_stream("LogStream", log_stream_name="lake")
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "firehose.amazonaws.com",
                conditions={"StringEquals": {"sts:ExternalId": Aws.ACCOUNT_ID}},
            ),
        )
        permit(
            role,
            [
                "kinesis:DescribeStream",
                "kinesis:GetRecords",
                "kinesis:GetShardIterator",
                "kinesis:ListShards",
            ],
            [stream.stream_arn],
        )
        permit(
            role,
            ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
            [lake.bucket.bucket_arn],
        )
        permit(
            role,
            ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
            [lake.objects(self, "rows/*"), lake.objects(self, "errors/*")],
            why="Firehose names the files that it writes.",
        )
        permit(
            role,
            ["lambda:InvokeFunction", "lambda:GetFunctionConfiguration"],
            [transform.function_arn],
        )
        permit(role, ["logs:PutLogEvents"], [log_group.log_group_arn])
        delivery = firehose.CfnDeliveryStream(
            self,
            "DeliveryStream",
            delivery_stream_type="KinesisStreamAsSource",
            kinesis_stream_source_configuration=(
                firehose.CfnDeliveryStream.KinesisStreamSourceConfigurationProperty(
                    kinesis_stream_arn=stream.stream_arn, role_arn=role.role_arn
                )
            ),
            extended_s3_destination_configuration=(
                firehose.CfnDeliveryStream.ExtendedS3DestinationConfigurationProperty(
                    bucket_arn=lake.bucket.bucket_arn,
                    role_arn=role.role_arn,
                    prefix="rows/!{partitionKeyFromLambda:model}/!{timestamp:yyyy/MM/dd/HH}/",
                    error_output_prefix=(
                        "errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/"
                    ),
                    buffering_hints=firehose.CfnDeliveryStream.BufferingHintsProperty(
                        interval_in_seconds=BUFFER_SECONDS, size_in_m_bs=BUFFER_MB
                    ),
                    compression_format="GZIP",
                    dynamic_partitioning_configuration=(
                        firehose.CfnDeliveryStream.DynamicPartitioningConfigurationProperty(
                            enabled=True,
                            retry_options=firehose.CfnDeliveryStream.RetryOptionsProperty(
                                duration_in_seconds=300
                            ),
                        )
                    ),
                    processing_configuration=_by(transform, role),
                    cloud_watch_logging_options=(
                        firehose.CfnDeliveryStream.CloudWatchLoggingOptionsProperty(
                            enabled=True,
                            log_group_name=log_group.log_group_name,
                            log_stream_name=log_stream.log_stream_name,
                        )
                    ),
                )
            ),
        )
        acknowledge(
            delivery,
            "AwsSolutions-KDF1",
            "What it reads is encrypted in the stream, what it writes in the bucket; Firehose "
            "takes no encryption of its own for a stream as its source.",
        )
        # Firehose tries its role when the stream is made.
        delivery.node.add_dependency(role)
        self.stream_name = delivery.ref


def _by(
    transform: lambda_.Function, role: iam.Role
) -> firehose.CfnDeliveryStream.ProcessingConfigurationProperty:
    parameters = {
        "LambdaArn": transform.function_arn,
        "RoleArn": role.role_arn,
        "BufferSizeInMBs": str(TRANSFORM_MB),
        "BufferIntervalInSeconds": str(TRANSFORM_SECONDS),
        "NumberOfRetries": "3",
    }
    return firehose.CfnDeliveryStream.ProcessingConfigurationProperty(
        enabled=True,
        processors=[
            firehose.CfnDeliveryStream.ProcessorProperty(
                type="Lambda",
                parameters=[
                    firehose.CfnDeliveryStream.ProcessorParameterProperty(
                        parameter_name=name, parameter_value=value
                    )
                    for name, value in parameters.items()
                ],
            )
        ],
    )
