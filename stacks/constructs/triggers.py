"""What starts a run, and what tidies up after one that ended badly."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.constructs.queue import DeadLetterQueue
from tidemill.model import Model

# A rule must have a schedule to be enabled by hand one day.
UNSCHEDULED = "rate(1 day)"
ENDED_BADLY = ["FAILED", "TIMED_OUT", "ABORTED"]


class Triggers(Construct):
    """A scheduled rule for each model, and the rule that closes a run that could not."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        models: Mapping[str, Model],
        state_machine: sfn.StateMachine,
        close_run: lambda_.Function,
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, name)
        dead_letters = DeadLetterQueue(
            self, "DeadLetters", topic=topic, holds="Events that should start or close a run"
        ).queue
        role = iam.Role(
            self,
            "ScheduleRole",
            assumed_by=iam.ServicePrincipal("events.amazonaws.com"),
            description="Schedules start runs as this role",
        )
        for model in models.values():
            events.Rule(
                self,
                f"refresh_{model.name}",
                description=f"Starts a run of {model.name}",
                schedule=events.Schedule.expression(model.refresh.schedule or UNSCHEDULED),
                enabled=model.refresh.schedule is not None,
                targets=[
                    targets.SfnStateMachine(
                        state_machine,
                        input=events.RuleTargetInput.from_object(
                            {"model": model.name, "reason": "schedule"}
                        ),
                        role=role,
                        dead_letter_queue=dead_letters,
                        max_event_age=Duration.hours(1),
                        retry_attempts=10,
                    )
                ],
            )
        events.Rule(
            self,
            "close_run",
            description="Closes a run whose execution failed, timed out or was aborted",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={
                    "stateMachineArn": [state_machine.state_machine_arn],
                    "status": ENDED_BADLY,
                },
            ),
            targets=[targets.LambdaFunction(close_run, dead_letter_queue=dead_letters)],
        )
