"""The functions that a run calls, with what each may do."""

from __future__ import annotations

from aws_cdk import Aws, Duration
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.constructs.bucket import PrivateBucket
from stacks.constructs.function import Function, FunctionDefaults
from stacks.constructs.grants import permit
from stacks.constructs.sagemaker_names import sagemaker_arn

WRITE_LEDGER = ("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")


class RunFunctions(Construct):
    """open_run, judge_version, verify_release, promote_version and close_run."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        prefix: str,
        ledger: dynamodb.Table,
        artefacts: PrivateBucket,
        unload_role_arn: str,
        topic: sns.ITopic,
        topic_key: kms.IKey,
        defaults: FunctionDefaults,
    ) -> None:
        super().__init__(scope, name)
        self._prefix = prefix
        self._ledger = ledger
        self._artefacts = artefacts
        self._defaults = defaults
        self._open_run = self._make_open_run(unload_role_arn)
        self.close_run = self._make_close_run(topic, topic_key)
        self.arns = {
            "OpenRunArn": self._open_run.function.function_arn,
            "JudgeVersionArn": self._make_judge_version().function_arn,
            "VerifyReleaseArn": self._make_verify_release().function_arn,
            "PromoteVersionArn": self._make_promote_version().function_arn,
            "CloseRunArn": self.close_run.function_arn,
        }

    def permit_lock_check(self, state_machine: sfn.StateMachine) -> None:
        """Let open_run ask whether the execution that holds a lock still runs.

        A policy of its own, since the state machine names the function and comes after it.
        """
        policy = iam.Policy(self, "LockCheckPolicy", roles=[self._open_run.role])
        permit(
            policy,
            ["states:DescribeExecution"],
            [
                f"arn:{Aws.PARTITION}:states:{Aws.REGION}:{Aws.ACCOUNT_ID}:"
                f"execution:{state_machine.state_machine_name}:*"
            ],
            why="Executions of this state machine are named as they come.",
        )

    def _make_open_run(self, unload_role_arn: str) -> Function:
        open_run = Function(
            self,
            "open_run",
            self._defaults,
            timeout=Duration.minutes(1),
            environment={
                "LEDGER_TABLE": self._ledger.table_name,
                "ARTEFACTS_BUCKET": self._artefacts.bucket.bucket_name,
                "UNLOAD_ROLE_ARN": unload_role_arn,
                "NAME_PREFIX": self._prefix,
            },
        )
        permit(open_run.role, [*WRITE_LEDGER, "dynamodb:DeleteItem"], [self._ledger.table_arn])
        self._permit_run_files(open_run, "s3:PutObject")
        self._permit_bringing_back(open_run)
        return open_run

    def _make_judge_version(self) -> lambda_.Function:
        judge_version = Function(
            self,
            "judge_version",
            self._defaults,
            timeout=Duration.minutes(1),
            environment={
                "LEDGER_TABLE": self._ledger.table_name,
                "ARTEFACTS_BUCKET": self._artefacts.bucket.bucket_name,
            },
        )
        permit(judge_version.role, WRITE_LEDGER, [self._ledger.table_arn])
        self._permit_run_files(judge_version, "s3:GetObject")
        return judge_version.function

    def _make_verify_release(self) -> lambda_.Function:
        verify_release = Function(
            self,
            "verify_release",
            self._defaults,
            timeout=Duration.minutes(2),
            environment={"ARTEFACTS_BUCKET": self._artefacts.bucket.bucket_name},
        )
        self._permit_run_files(verify_release, "s3:GetObject")
        permit(
            verify_release.role,
            ["sagemaker:DescribeEndpoint", "sagemaker:InvokeEndpoint"],
            [sagemaker_arn(self._prefix, "endpoint")],
            why="There is one endpoint for each model.",
        )
        return verify_release.function

    def _make_promote_version(self) -> lambda_.Function:
        promote_version = Function(
            self,
            "promote_version",
            self._defaults,
            timeout=Duration.minutes(1),
            environment={"LEDGER_TABLE": self._ledger.table_name},
        )
        permit(
            promote_version.role,
            [*WRITE_LEDGER, "dynamodb:ConditionCheckItem"],
            [self._ledger.table_arn],
        )
        return promote_version.function

    def _make_close_run(self, topic: sns.ITopic, topic_key: kms.IKey) -> lambda_.Function:
        close_run = Function(
            self,
            "close_run",
            self._defaults,
            # An endpoint in the middle of an update must settle before it can be reverted.
            timeout=Duration.minutes(15),
            asynchronous=True,
            environment={
                "LEDGER_TABLE": self._ledger.table_name,
                "NAME_PREFIX": self._prefix,
                "TOPIC_ARN": topic.topic_arn,
            },
        )
        permit(close_run.role, [*WRITE_LEDGER, "dynamodb:DeleteItem"], [self._ledger.table_arn])
        permit(close_run.role, ["sns:Publish"], [topic.topic_arn])
        permit(close_run.role, ["kms:Decrypt", "kms:GenerateDataKey"], [topic_key.key_arn])
        self._permit_bringing_back(close_run)
        return close_run.function

    def _permit_bringing_back(self, function: Function) -> None:
        """Let a function bring the champion back behind its endpoint, or leave none."""
        permit(
            function.role,
            [
                "sagemaker:CreateEndpoint",
                "sagemaker:DeleteEndpoint",
                "sagemaker:DescribeEndpoint",
                "sagemaker:UpdateEndpoint",
            ],
            [sagemaker_arn(self._prefix, "endpoint")],
            why="There is one endpoint for each model.",
        )
        permit(
            function.role,
            ["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"],
            [sagemaker_arn(self._prefix, "endpoint-config")],
            why="Endpoint configurations are named after their run.",
        )

    def _permit_run_files(self, function: Function, action: str) -> None:
        permit(
            function.role,
            [action],
            [self._artefacts.objects(self, "runs/*")],
            why="A run's files are named after the run.",
        )
