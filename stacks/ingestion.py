"""Ingestion: a CSV file or a device's record on its way into the lake.

input bucket → InputQueue → stream_csv → stream → Firehose (transform_records) → lake → LoadQueue
"""

from __future__ import annotations

from pathlib import Path

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as event_sources
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from stacks.constructs.alarms import ALARM_PERIOD, add_alarm
from stacks.constructs.bucket import PrivateBucket
from stacks.constructs.delivery import Delivery
from stacks.constructs.function import Function, FunctionDefaults
from stacks.constructs.grants import acknowledge, flatten, permit
from stacks.constructs.queue import WorkQueue
from stacks.settings import Settings

UPLOADS_PREFIX = "stream-input-data/"
ROWS_PREFIX = "rows/"
STREAM_TIMEOUT = Duration.minutes(2)
LOAD_TIMEOUT = Duration.minutes(10)


class IngestionStack(Stack):
    """From the input bucket to the lake, and the alarm topic that every stack uses."""

    def __init__(self, scope: Construct, name: str, *, settings: Settings, code: Path) -> None:
        super().__init__(scope, name, description="Tidemill: CSV files and records into the lake")
        keep = settings.keeps_data
        removal = RemovalPolicy.RETAIN if keep else RemovalPolicy.DESTROY

        self.topic_key = self._topic_key(removal)
        self.topic = self._topic(settings)
        self.functions = FunctionDefaults(
            code=code,
            service=settings.prefix,
            log_retention=settings.retention,
            topic=self.topic,
        )

        logs = PrivateBucket(
            self,
            "AccessLogs",
            keep=keep,
            rules=[s3.LifecycleRule(expiration=Duration.days(settings.log_retention_days))],
        )
        acknowledge(logs, "AwsSolutions-S1", "It holds the access logs of the other buckets.")
        self.access_logs = logs.bucket
        self._admit_access_logs()
        self.input_bucket = PrivateBucket(
            self,
            "InputBucket",
            keep=keep,
            logs=self.access_logs,
            versioned=True,
            rules=[s3.LifecycleRule(noncurrent_version_expiration=Duration.days(90))],
        )
        self.lake = PrivateBucket(self, "LakeBucket", keep=keep, logs=self.access_logs)
        self.input_queue = WorkQueue(
            self,
            "InputQueue",
            function_timeout=STREAM_TIMEOUT,
            topic=self.topic,
            holds="Uploaded files",
        )
        self.load_queue = WorkQueue(
            self,
            "LoadQueue",
            function_timeout=LOAD_TIMEOUT,
            topic=self.topic,
            holds="Files of the lake",
        )
        _notify(self.input_bucket, UPLOADS_PREFIX, self.input_queue)
        _notify(self.lake, ROWS_PREFIX, self.load_queue)

        self.uploads = dynamodb.Table(
            self,
            "UploadsTable",
            partition_key=dynamodb.Attribute(name="source_id", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            removal_policy=removal,
        )
        self.stream = self._stream(settings, removal)
        self._stream_csv()
        self.delivery = self._delivery(settings)
        self._outputs()

    def _topic_key(self, removal: RemovalPolicy) -> kms.Key:
        key = kms.Key(
            self,
            "TopicKey",
            description="Encrypts what the alarm topic holds",
            enable_key_rotation=True,
            removal_policy=removal,
        )
        # The key that AWS manages for SNS admits no alarm and no rule: theirs would be lost.
        key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[
                    iam.ServicePrincipal("cloudwatch.amazonaws.com"),
                    iam.ServicePrincipal("events.amazonaws.com"),
                ],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        for wildcard, reason in {
            "Action::kms:*": "A key that its account could not administer would be lost.",
            "Resource::*": "In a key's own policy this is the key alone.",
        }.items():
            acknowledge(key, f"AwsSolutions-IAM5[{wildcard}]", reason)
        return key

    def _topic(self, settings: Settings) -> sns.Topic:
        topic = sns.Topic(self, "AlarmTopic", master_key=self.topic_key, enforce_ssl=True)
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        if settings.alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(settings.alarm_email))
        return topic

    def _admit_access_logs(self) -> None:
        self.access_logs.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("logging.s3.amazonaws.com")],
                actions=["s3:PutObject"],
                resources=[self.access_logs.arn_for_objects("*")],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        acknowledge(
            self.access_logs,
            f"AwsSolutions-IAM5[Resource::{flatten(self.resolve(self.access_logs.bucket_arn))}/*]",
            "S3 names the logs that it delivers.",
        )

    def _stream(self, settings: Settings, removal: RemovalPolicy) -> kinesis.Stream:
        stream = kinesis.Stream(
            self,
            "Stream",
            stream_mode=kinesis.StreamMode.PROVISIONED,
            shard_count=settings.stream_shards,
            retention_period=Duration.hours(24),
            encryption=kinesis.StreamEncryption.MANAGED,
            removal_policy=removal,
        )
        add_alarm(
            self,
            "StreamRefuses",
            metric=stream.metric_write_provisioned_throughput_exceeded(
                period=ALARM_PERIOD, statistic="Sum"
            ),
            above=100,
            topic=self.topic,
            tells="The stream refuses records for want of shards: raise stream_shards.",
        )
        return stream

    def _stream_csv(self) -> None:
        stream_csv = Function(
            self,
            "stream_csv",
            self.functions,
            timeout=STREAM_TIMEOUT,
            memory_mb=1024,
            environment={
                "STREAM_NAME": self.stream.stream_name,
                "LAKE_BUCKET": self.lake.bucket.bucket_name,
                "UPLOADS_TABLE": self.uploads.table_name,
                "QUEUE_URL": self.input_queue.queue.queue_url,
            },
        )
        permit(
            stream_csv.role,
            ["s3:GetObject", "s3:GetObjectVersion"],
            [self.input_bucket.objects(self, f"{UPLOADS_PREFIX}*")],
            why="Users name the files that they upload.",
        )
        self._permit_rejections(stream_csv.role)
        permit(stream_csv.role, ["kinesis:PutRecords"], [self.stream.stream_arn])
        permit(stream_csv.role, ["sqs:SendMessage"], [self.input_queue.queue.queue_arn])
        permit(stream_csv.role, ["dynamodb:PutItem"], [self.uploads.table_arn])
        resource = stream_csv.function.node.default_child
        assert isinstance(resource, lambda_.CfnFunction)  # noqa: S101 # narrows a CDK node's type
        # It leaves the rest of a long file to itself, by its own queue. Lambda would stop that as
        # a runaway after 16 rounds; each round reads on, so that the file's length ends them.
        resource.recursive_loop = "Allow"
        stream_csv.function.add_event_source(
            event_sources.SqsEventSource(
                self.input_queue.queue,
                batch_size=1,
                max_concurrency=10,
                report_batch_item_failures=True,
            )
        )

    def _permit_rejections(self, role: iam.Role) -> None:
        permit(
            role,
            ["s3:PutObject"],
            [self.lake.objects(self, "rejected/*")],
            why="A rejection is named after the record that it comes from.",
        )

    def _delivery(self, settings: Settings) -> Delivery:
        transform = Function(
            self,
            "transform_records",
            self.functions,
            timeout=Duration.minutes(2),
            memory_mb=1024,
            environment={"LAKE_BUCKET": self.lake.bucket.bucket_name},
        )
        self._permit_rejections(transform.role)
        delivery = Delivery(
            self,
            "Delivery",
            stream=self.stream,
            transform=transform.function,
            lake=self.lake,
            log_retention=settings.retention,
        )
        add_alarm(
            self,
            "DeliveryLate",
            metric=cloudwatch.Metric(
                namespace="AWS/Firehose",
                metric_name="DeliveryToS3.DataFreshness",
                dimensions_map={"DeliveryStreamName": delivery.stream_name},
                statistic="Maximum",
                period=ALARM_PERIOD,
            ),
            above=Duration.minutes(15).to_seconds(),
            topic=self.topic,
            tells="Rows have waited for more than 15 minutes to reach the lake: see the delivery "
            "stream's log and that of transform_records.",
        )
        return delivery

    def _outputs(self) -> None:
        for name, value in {
            "InputBucket": self.input_bucket.bucket.bucket_name,
            "LakeBucket": self.lake.bucket.bucket_name,
            "StreamName": self.stream.stream_name,
            "DeliveryStreamName": self.delivery.stream_name,
            "UploadsTable": self.uploads.table_name,
            "AlarmTopicArn": self.topic.topic_arn,
            "InputQueueUrl": self.input_queue.queue.queue_url,
            "LoadQueueUrl": self.load_queue.queue.queue_url,
        }.items():
            CfnOutput(self, f"{name}Output", value=value).override_logical_id(name)


def _notify(bucket: PrivateBucket, prefix: str, queue: WorkQueue) -> None:
    """Queue an event for each object made under `prefix`.

    By the bucket's own property: the CDK's way needs a function of its own for it.
    """
    queue.admit_s3()
    resource = bucket.bucket.node.default_child
    assert isinstance(resource, s3.CfnBucket)  # noqa: S101 # narrows the type of a CDK node
    resource.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        queue_configurations=[
            s3.CfnBucket.QueueConfigurationProperty(
                event="s3:ObjectCreated:*",
                queue=queue.queue.queue_arn,
                filter=s3.CfnBucket.NotificationFilterProperty(
                    s3_key=s3.CfnBucket.S3KeyFilterProperty(
                        rules=[s3.CfnBucket.FilterRuleProperty(name="prefix", value=prefix)]
                    )
                ),
            )
        ]
    )
    # S3 tries the queue when the bucket is made.
    bucket.node.add_dependency(queue)
