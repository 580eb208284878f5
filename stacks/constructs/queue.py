"""A queue with its dead-letter queue, and the alarm on it."""

from __future__ import annotations

from aws_cdk import Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.constructs.alarms import ALARM_PERIOD, add_alarm
from stacks.constructs.grants import acknowledge

MAX_RECEIVES = 5


class DeadLetterQueue(Construct):
    """Keeps for 14 days what could not be worked on, and tells so."""

    def __init__(self, scope: Construct, name: str, *, topic: sns.ITopic, holds: str) -> None:
        super().__init__(scope, name)
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        acknowledge(self.queue, "AwsSolutions-SQS3", "This is a dead-letter queue itself.")
        add_alarm(
            self,
            "NotEmpty",
            metric=self.queue.metric_approximate_number_of_messages_visible(period=ALARM_PERIOD),
            above=0,
            topic=topic,
            tells=f"{holds} could not be worked on and lie in the dead-letter queue: "
            "read the function's log, mend the cause, and redrive the queue.",
        )


class WorkQueue(Construct):
    """A queue that S3 fills and a function of the same stack or another works off."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        function_timeout: Duration,
        topic: sns.ITopic,
        holds: str,
    ) -> None:
        super().__init__(scope, name)
        self.dead_letters = DeadLetterQueue(self, "DeadLetters", topic=topic, holds=holds)
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            # Six times the function's timeout, as Lambda asks of its queues.
            visibility_timeout=Duration.seconds(6 * function_timeout.to_seconds()),
            retention_period=Duration.days(14),
            dead_letter_queue=sqs.DeadLetterQueue(
                queue=self.dead_letters.queue, max_receive_count=MAX_RECEIVES
            ),
        )

    def admit_s3(self) -> None:
        """Let the buckets of this account send their events.

        By account, since the bucket names its queue and a policy that names the bucket would
        close the circle.
        """
        self.queue.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("s3.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self.queue.queue_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            )
        )
