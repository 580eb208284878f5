"""Alarms: what is looked at, and whom they tell."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct


def add_alarm(
    scope: Construct,
    name: str,
    *,
    metric: cloudwatch.IMetric,
    above: float,
    topic: sns.ITopic,
    tells: str,
) -> cloudwatch.Alarm:
    """Alarm `topic` when `metric` exceeds `above` in one of its periods.

    `tells` is what the reader of the message should know and do.
    """
    alarm = cloudwatch.Alarm(
        scope,
        name,
        metric=metric,
        threshold=above,
        evaluation_periods=1,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        alarm_description=tells,
    )
    alarm.add_alarm_action(actions.SnsAction(topic))
    return alarm


ALARM_PERIOD = Duration.minutes(5)
