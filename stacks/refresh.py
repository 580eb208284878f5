"""Refresh: the state machine that turns the warehouse's rows into a champion behind an endpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from aws_cdk import Aws, CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from stacks.constructs.alarms import ALARM_PERIOD, add_alarm
from stacks.constructs.bucket import PrivateBucket
from stacks.constructs.grants import acknowledge, permit
from stacks.constructs.image import Image
from stacks.constructs.job_roles import SAGEMAKER, make_endpoint_role, make_job_role
from stacks.constructs.run_functions import RunFunctions
from stacks.constructs.sagemaker_names import sagemaker_arn
from stacks.constructs.triggers import Triggers
from stacks.ingestion import IngestionStack
from stacks.settings import Settings
from stacks.warehouse import DATABASE, WarehouseStack
from tidemill.model import Model

DEFINITION = Path(__file__).parents[1] / "state_machines" / "model_refresh.asl.json"


class RefreshStack(Stack):
    """One state machine for every model, its ledger, its artefacts and its triggers."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: Settings,
        models: Mapping[str, Model],
        image_context: Path,
        ingestion: IngestionStack,
        warehouse: WarehouseStack,
    ) -> None:
        super().__init__(scope, name, description="Tidemill: runs, versions and releases")
        self._settings = settings
        self._ingestion = ingestion
        self._warehouse = warehouse
        keep = settings.keeps_data
        self.artefacts = PrivateBucket(
            self,
            "ArtefactsBucket",
            keep=keep,
            logs=ingestion.access_logs,
        )
        self._permit_unload()
        self.ledger = dynamodb.Table(
            self,
            "LedgerTable",
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            removal_policy=RemovalPolicy.RETAIN if keep else RemovalPolicy.DESTROY,
        )
        self.image = Image(
            self, "Image", context=image_context, functions=ingestion.functions, keep=keep
        )
        self.job_role = make_job_role(
            self,
            "JobRole",
            artefacts=self.artefacts,
            image=self.image,
        )
        self.endpoint_role = make_endpoint_role(
            self,
            "EndpointRole",
            prefix=settings.prefix,
            artefacts=self.artefacts,
            image=self.image,
        )
        self.run_functions = RunFunctions(
            self,
            "Functions",
            prefix=settings.prefix,
            ledger=self.ledger,
            artefacts=self.artefacts,
            unload_role_arn=warehouse.unload_role.role_arn,
            topic=ingestion.topic,
            topic_key=ingestion.topic_key,
            defaults=ingestion.functions,
        )
        self.log_group = logs.LogGroup(
            self,
            "StateMachineLogs",
            retention=settings.retention,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.state_machine = self._state_machine()
        self.run_functions.permit_lock_check(self.state_machine)
        self.triggers = Triggers(
            self,
            "Triggers",
            models=models,
            state_machine=self.state_machine,
            close_run=self.run_functions.close_run,
            topic=ingestion.topic,
        )
        self._outputs(models)

    def _permit_unload(self) -> None:
        """Grant the UNLOAD role the snapshots, here beside their bucket.

        The role is the warehouse's, which must not know this stack.
        """
        policy = iam.Policy(self, "UnloadPolicy", roles=[self._warehouse.unload_role])
        permit(
            policy,
            ["s3:DeleteObject", "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"],
            [self.artefacts.objects(self, "snapshots/*")],
            why="UNLOAD names the files that it writes.",
        )
        permit(
            policy,
            ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
            [self.artefacts.bucket.bucket_arn],
        )

    def _state_machine(self) -> sfn.StateMachine:
        settings = self._settings
        role = iam.Role(
            self,
            "Role",
            role_name=self._warehouse.extractor_role_name,
            assumed_by=iam.ServicePrincipal("states.amazonaws.com"),
            description="Runs are executed as this role; the warehouse knows it by its name",
        )
        self._permit_run(role)
        machine = sfn.StateMachine(
            self,
            "StateMachine",
            state_machine_type=sfn.StateMachineType.STANDARD,
            role=role,
            definition_body=sfn.DefinitionBody.from_string(DEFINITION.read_text()),
            definition_substitutions=_substitutions(
                {
                    **self.run_functions.arns,
                    "ImageUri": self.image.uri,
                    "JobRoleArn": self.job_role.role_arn,
                    "EndpointRoleArn": self.endpoint_role.role_arn,
                    "WorkgroupName": self._warehouse.workgroup_name,
                    "Database": DATABASE,
                    "ArtefactsBucket": self.artefacts.bucket.bucket_name,
                    "TopicArn": self._ingestion.topic.topic_arn,
                    "NamePrefix": settings.prefix,
                    "ProcessingInstanceType": settings.processing_instance_type,
                    "TrainingInstanceType": settings.training_instance_type,
                }
            ),
            logs=sfn.LogOptions(
                destination=self.log_group,
                level=sfn.LogLevel.ALL,
                include_execution_data=True,
            ),
            tracing_enabled=True,
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            role,
            "AwsSolutions-IAM5[Resource::*]",
            "Log deliveries, trace segments and statements have no ARN; statements are narrowed "
            "to the role's own by a condition.",
        )
        add_alarm(
            self,
            "RunFailed",
            metric=machine.metric_failed(period=ALARM_PERIOD),
            above=0,
            topic=self._ingestion.topic,
            tells="A run failed: `tidemill refresh` shows its states, the ledger its reason. The "
            "champion keeps serving.",
        )
        return machine

    def _permit_run(self, role: iam.Role) -> None:
        self._warehouse.permit_statements(
            role,
            ["redshift-data:ExecuteStatement", "redshift-serverless:GetCredentials"],
            ["redshift-data:DescribeStatement", "redshift-data:CancelStatement"],
        )
        permit(role, ["lambda:InvokeFunction"], list(self.run_functions.arns.values()))
        permit(role, ["sns:Publish"], [self._ingestion.topic.topic_arn])
        permit(role, ["kms:Decrypt", "kms:GenerateDataKey"], [self._ingestion.topic_key.key_arn])
        kinds: dict[str, tuple[str, ...]] = {
            "processing-job": (
                "CreateProcessingJob",
                "DescribeProcessingJob",
                "StopProcessingJob",
            ),
            "training-job": ("CreateTrainingJob", "DescribeTrainingJob", "StopTrainingJob"),
            "model": ("CreateModel",),
            "endpoint-config": ("CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint"),
            "endpoint": ("CreateEndpoint", "DescribeEndpoint", "UpdateEndpoint", "DeleteEndpoint"),
        }
        for kind, actions in kinds.items():
            permit(
                role,
                [*(f"sagemaker:{action}" for action in actions), "sagemaker:AddTags"],
                [sagemaker_arn(self._settings.prefix, kind)],
                why="Jobs, models and endpoint configurations are named after their run.",
            )
        permit(
            role,
            ["iam:PassRole"],
            [self.job_role.role_arn, self.endpoint_role.role_arn],
            conditions={"StringEquals": {"iam:PassedToService": SAGEMAKER}},
        )
        permit(
            role,
            ["events:DescribeRule", "events:PutRule", "events:PutTargets"],
            [
                f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:"
                f"rule/StepFunctionsGetEventsForSageMaker{jobs}Rule"
                for jobs in ("ProcessingJobs", "TrainingJobs")
            ],
        )

    def _outputs(self, models: Mapping[str, Model]) -> None:
        example = json.dumps({"model": next(iter(models)), "reason": "manual"})
        for name, value in {
            "StateMachineArn": self.state_machine.state_machine_arn,
            "ExecutionInput": example,
            "LedgerTable": self.ledger.table_name,
            "ArtefactsBucket": self.artefacts.bucket.bucket_name,
            "StateMachineLogGroup": self.log_group.log_group_name,
        }.items():
            CfnOutput(self, f"{name}Output", value=value).override_logical_id(name)


def _substitutions(offered: Mapping[str, str]) -> dict[str, str]:
    """Return those of `offered` that the definition asks for: CloudFormation wants no other.

    Raises KeyError for a placeholder that nothing is offered for.
    """
    asked = set(re.findall(r"\$\{(\w+)\}", DEFINITION.read_text()))
    return {name: offered[name] for name in sorted(asked)}
