"""The warehouse: Redshift Serverless, its migrations, and the loader.

LoadQueue → load_warehouse → COPY from the lake
"""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Aws, CfnOutput, CustomResource, Duration, Fn, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_redshiftserverless as redshift
from constructs import Construct

from stacks.constructs.function import Function
from stacks.constructs.grants import permit
from stacks.constructs.network import WarehouseNetwork
from stacks.ingestion import LOAD_TIMEOUT, IngestionStack
from stacks.settings import Settings

DATABASE = "tidemill"
ADMIN = "tidemill_admin"
MIGRATION_TIMEOUT = Duration.minutes(15)


class WarehouseStack(Stack):
    """A private warehouse, filled from the lake."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: Settings,
        ingestion: IngestionStack,
        schema_version: str,
    ) -> None:
        """`schema_version` changes with the models and the SQL: migrations then run again."""
        super().__init__(scope, name, description="Tidemill: the warehouse and its loader")
        self._ingestion = ingestion
        # The extracting role is made with the state machine, and the warehouse must know its
        # name before: the one physical name here.
        self.extractor_role_name = Fn.join("-", [settings.prefix, "refresh", Aws.REGION])
        self.copy_role = self._copy_role()
        self.unload_role = iam.Role(
            self,
            "UnloadRole",
            assumed_by=iam.ServicePrincipal("redshift.amazonaws.com"),
            description="UNLOAD writes snapshots as this role",
        )
        self.namespace, self.workgroup = self._warehouse(settings)
        self.workgroup_name = self.workgroup.ref
        self.workgroup_arn = self.workgroup.attr_workgroup_workgroup_arn

        loader = self._load_warehouse()
        migration = self._migrate_warehouse(settings, loader, schema_version)
        queue = ingestion.load_queue.queue
        queue.grant_consume_messages(loader.role)
        mapping = loader.function.add_event_source_mapping(
            "LoadQueue",
            event_source_arn=queue.queue_arn,
            # Lambda takes more than ten messages only with a window.
            batch_size=1000 if settings.loader_batching_window_seconds else 10,
            max_batching_window=Duration.seconds(settings.loader_batching_window_seconds),
            max_concurrency=2,
            report_batch_item_failures=True,
        )
        # Before the first migration there is no table to load.
        mapping.node.add_dependency(migration)
        CfnOutput(self, "WorkgroupNameOutput", value=self.workgroup_name).override_logical_id(
            "WorkgroupName"
        )
        CfnOutput(self, "DatabaseOutput", value=DATABASE).override_logical_id("Database")

    def permit_statements(
        self, role: iam.Role, begin: Sequence[str], follow: Sequence[str]
    ) -> None:
        """Let `role` begin statements in the warehouse, and follow its own ones."""
        permit(role, begin, [self.workgroup_arn])
        permit(
            role,
            follow,
            ["*"],
            conditions={
                "StringEquals": {"redshift-data:statement-owner-iam-userid": "${aws:userid}"}
            },
            why="A statement has no ARN; the condition admits the caller's own ones only.",
        )

    def _copy_role(self) -> iam.Role:
        role = iam.Role(
            self,
            "CopyRole",
            assumed_by=iam.ServicePrincipal("redshift.amazonaws.com"),
            description="COPY reads the lake as this role",
        )
        lake = self._ingestion.lake
        permit(
            role,
            ["s3:GetObject"],
            [lake.objects(self, "rows/*"), lake.objects(self, "manifests/*")],
            why="Firehose names the files; a manifest is named after what it lists.",
        )
        permit(role, ["s3:ListBucket", "s3:GetBucketLocation"], [lake.bucket.bucket_arn])
        return role

    def _warehouse(self, settings: Settings) -> tuple[redshift.CfnNamespace, redshift.CfnWorkgroup]:
        network = WarehouseNetwork(self, "Network")
        namespace = redshift.CfnNamespace(
            self,
            "Namespace",
            namespace_name=settings.prefix,
            db_name=DATABASE,
            manage_admin_password=True,
            admin_username=ADMIN,
            iam_roles=[self.copy_role.role_arn, self.unload_role.role_arn],
            log_exports=["userlog", "connectionlog", "useractivitylog"],
        )
        namespace.apply_removal_policy(
            RemovalPolicy.RETAIN if settings.keeps_data else RemovalPolicy.DESTROY
        )
        workgroup = redshift.CfnWorkgroup(
            self,
            "Workgroup",
            workgroup_name=settings.prefix,
            namespace_name=namespace.ref,
            base_capacity=settings.warehouse_capacity,
            enhanced_vpc_routing=True,
            publicly_accessible=False,
            subnet_ids=network.subnet_ids,
            security_group_ids=[network.security_group.security_group_id],
            config_parameters=[
                redshift.CfnWorkgroup.ConfigParameterProperty(
                    parameter_key=key, parameter_value="true"
                )
                for key in ("require_ssl", "enable_user_activity_logging")
            ],
        )
        workgroup.apply_removal_policy(
            RemovalPolicy.RETAIN if settings.keeps_data else RemovalPolicy.DESTROY
        )
        return namespace, workgroup

    def _load_warehouse(self) -> Function:
        lake = self._ingestion.lake
        loader = Function(
            self,
            "load_warehouse",
            self._ingestion.functions,
            timeout=LOAD_TIMEOUT,
            environment={
                "LAKE_BUCKET": lake.bucket.bucket_name,
                "WORKGROUP_NAME": self.workgroup_name,
                "DATABASE": DATABASE,
                "COPY_ROLE_ARN": self.copy_role.role_arn,
            },
        )
        permit(
            loader.role,
            ["s3:PutObject"],
            [lake.objects(self, "manifests/*")],
            why="A manifest is named after what it lists.",
        )
        self.permit_statements(
            loader.role,
            ["redshift-data:BatchExecuteStatement", "redshift-serverless:GetCredentials"],
            ["redshift-data:DescribeStatement"],
        )
        return loader

    def _migrate_warehouse(
        self, settings: Settings, loader: Function, schema_version: str
    ) -> CustomResource:
        # CloudFormation does not tell the ARN of the secret that the warehouse manages; its name
        # is made of the namespace's and the administrator's.
        secret = f"redshift!{settings.prefix}-{ADMIN}"
        migrator = Function(
            self,
            "migrate_warehouse",
            self._ingestion.functions,
            timeout=MIGRATION_TIMEOUT,
            asynchronous=True,
            environment={
                "WORKGROUP_NAME": self.workgroup_name,
                "DATABASE": DATABASE,
                "ADMIN_SECRET_ARN": secret,
                "LOADER_ROLE_NAME": loader.role.role_name,
                "EXTRACTOR_ROLE_NAME": self.extractor_role_name,
            },
        )
        self.permit_statements(
            migrator.role,
            ["redshift-data:ExecuteStatement", "redshift-data:BatchExecuteStatement"],
            ["redshift-data:DescribeStatement", "redshift-data:GetStatementResult"],
        )
        permit(
            migrator.role,
            ["secretsmanager:GetSecretValue"],
            [f"arn:{Aws.PARTITION}:secretsmanager:{Aws.REGION}:{Aws.ACCOUNT_ID}:secret:{secret}-*"],
            why="A secret's ARN ends in six characters by chance.",
        )
        return CustomResource(
            self,
            "Migration",
            resource_type="Custom::WarehouseMigration",
            service_token=migrator.function.function_arn,
            service_timeout=MIGRATION_TIMEOUT,
            properties={"Version": schema_version},
        )
