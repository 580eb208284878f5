"""A Lambda function of Tidemill's: what every one of them has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.constructs.alarms import ALARM_PERIOD, add_alarm
from stacks.constructs.grants import acknowledge
from stacks.constructs.queue import DeadLetterQueue

RUNTIME = lambda_.Runtime.PYTHON_3_13


@dataclass(frozen=True)
class FunctionDefaults:
    """What the functions of a deployment share."""

    code: Path
    """The folder with the code of all of them."""
    service: str
    """The name that logs, metrics and traces go under."""
    log_retention: logs.RetentionDays
    topic: sns.ITopic
    """Whom a failing function tells."""


class Function(Construct):
    """The function in `lambdas/<name>/`, with a role and a log group of its own.

    `name` is the construct's id too. An `asynchronous` function, one that a service calls
    without waiting, keeps the events it failed on in a dead-letter queue.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        defaults: FunctionDefaults,
        *,
        timeout: Duration,
        memory_mb: int = 256,
        environment: Mapping[str, str],
        asynchronous: bool = False,
    ) -> None:
        super().__init__(scope, name)
        log_group = logs.LogGroup(
            self,
            "Logs",
            retention=defaults.log_retention,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(self.role)
        dead_letters = (
            DeadLetterQueue(
                self, "DeadLetters", topic=defaults.topic, holds=f"Events for {name}"
            ).queue
            if asynchronous
            else None
        )
        self.function = lambda_.Function(
            self,
            "Function",
            description=f"lambdas/{name}",
            code=lambda_.Code.from_asset(str(defaults.code)),
            handler=f"lambdas.{name}.handler.handler",
            runtime=RUNTIME,
            architecture=lambda_.Architecture.ARM_64,
            timeout=timeout,
            memory_size=memory_mb,
            role=self.role,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            tracing=lambda_.Tracing.ACTIVE,
            dead_letter_queue=dead_letters,
            environment={
                "POWERTOOLS_SERVICE_NAME": name,
                "POWERTOOLS_METRICS_NAMESPACE": defaults.service,
                **environment,
            },
        )
        acknowledge(
            self.function,
            "AwsSolutions-L1",
            "3.13 is the newest runtime whose Python every locked package is known to run on.",
        )
        acknowledge(
            self.role,
            "AwsSolutions-IAM5[Resource::*]",
            "Trace segments belong to no resource that a policy could name.",
        )
        add_alarm(
            self,
            "Errors",
            metric=self.function.metric_errors(period=ALARM_PERIOD),
            above=0,
            topic=defaults.topic,
            tells=f"The function {name} failed: its log group has the reason.",
        )
