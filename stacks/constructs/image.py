"""The container image: built in the account, from the context that the app carries."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import Aws, CustomResource, Duration, RemovalPolicy
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

from stacks.constructs.function import Function, FunctionDefaults
from stacks.constructs.grants import acknowledge, permit

BUILD_TIMEOUT = Duration.minutes(14)
# A Lambda function's longest: it follows the build to its end.
FOLLOW_TIMEOUT = Duration.minutes(15)
KEPT_IMAGES = 20

BUILDSPEC = {
    "version": "0.2",
    "phases": {
        "pre_build": {
            "commands": [
                "aws ecr get-login-password | docker login --username AWS --password-stdin "
                '"${REPOSITORY_URI%%/*}"',
            ]
        },
        "build": {
            "commands": [
                'docker build --file containers/Dockerfile --tag "$REPOSITORY_URI:$IMAGE_TAG" .',
                'docker push "$REPOSITORY_URI:$IMAGE_TAG"',
            ]
        },
    },
}


class Image(Construct):
    """A repository, the build that fills it, and the image of this deployment."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        context: Path,
        functions: FunctionDefaults,
        keep: bool,
    ) -> None:
        super().__init__(scope, name)
        self.repository = ecr.Repository(
            self,
            "Repository",
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            image_scan_on_push=True,
            encryption=ecr.RepositoryEncryption.AES_256,
            lifecycle_rules=[ecr.LifecycleRule(max_image_count=KEPT_IMAGES)],
            empty_on_delete=not keep,
            removal_policy=RemovalPolicy.RETAIN if keep else RemovalPolicy.DESTROY,
        )
        source = assets.Asset(self, "Context", path=str(context))
        project = self._project(source, functions.log_retention)
        build_image = Function(
            self,
            "build_image",
            functions,
            timeout=FOLLOW_TIMEOUT,
            memory_mb=128,
            asynchronous=True,
            environment={
                "PROJECT_NAME": project.ref,
                "REPOSITORY_NAME": self.repository.repository_name,
            },
        )
        permit(
            build_image.role,
            ["codebuild:StartBuild", "codebuild:BatchGetBuilds"],
            [project.attr_arn],
        )
        permit(
            build_image.role,
            ["ecr:DescribeImages", "ecr:DescribeRepositories"],
            [self.repository.repository_arn],
        )
        image = CustomResource(
            self,
            "Image",
            resource_type="Custom::ContainerImage",
            service_token=build_image.function.function_arn,
            service_timeout=FOLLOW_TIMEOUT,
            properties={"ImageTag": source.asset_hash},
        )
        self.uri = image.get_att_string("ImageUri")

    def permit_pull(self, role: iam.Role) -> None:
        """Let `role` pull the image."""
        permit(
            role,
            [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:GetDownloadUrlForLayer",
            ],
            [self.repository.repository_arn],
        )
        permit_ecr_login(role)

    def _project(self, source: assets.Asset, retention: logs.RetentionDays) -> codebuild.CfnProject:
        log_group = logs.LogGroup(
            self, "Logs", retention=retention, removal_policy=RemovalPolicy.DESTROY
        )
        role = iam.Role(
            self, "BuildRole", assumed_by=iam.ServicePrincipal("codebuild.amazonaws.com")
        )
        permit(
            role,
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [log_group.log_group_arn],
        )
        permit(
            role,
            ["s3:GetObject", "s3:GetObjectVersion"],
            [source.bucket.arn_for_objects(source.s3_object_key)],
        )
        permit(
            role,
            [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:CompleteLayerUpload",
                "ecr:GetDownloadUrlForLayer",
                "ecr:InitiateLayerUpload",
                "ecr:PutImage",
                "ecr:UploadLayerPart",
            ],
            [self.repository.repository_arn],
        )
        permit_ecr_login(role)
        project = codebuild.CfnProject(
            self,
            "Project",
            description="Builds the container image",
            service_role=role.role_arn,
            artifacts=codebuild.CfnProject.ArtifactsProperty(type="NO_ARTIFACTS"),
            source=codebuild.CfnProject.SourceProperty(
                type="S3",
                location=f"{source.s3_bucket_name}/{source.s3_object_key}",
                build_spec=codebuild.BuildSpec.from_object_to_yaml(BUILDSPEC).to_build_spec(),
            ),
            environment=codebuild.CfnProject.EnvironmentProperty(
                type="LINUX_CONTAINER",
                image="aws/codebuild/amazonlinux-x86_64-standard:5.0",
                compute_type="BUILD_GENERAL1_MEDIUM",
                privileged_mode=True,
                environment_variables=[
                    codebuild.CfnProject.EnvironmentVariableProperty(name=name, value=value)
                    for name, value in {
                        "REPOSITORY_URI": self.repository.repository_uri,
                        "IMAGE_TAG": source.asset_hash,
                    }.items()
                ],
            ),
            encryption_key=f"arn:{Aws.PARTITION}:kms:{Aws.REGION}:{Aws.ACCOUNT_ID}:alias/aws/s3",
            logs_config=codebuild.CfnProject.LogsConfigProperty(
                cloud_watch_logs=codebuild.CfnProject.CloudWatchLogsConfigProperty(
                    status="ENABLED", group_name=log_group.log_group_name
                )
            ),
            timeout_in_minutes=BUILD_TIMEOUT.to_minutes(),
        )
        project.node.add_dependency(role)
        acknowledge(
            project,
            "AwsSolutions-CB3",
            "Docker needs the privileged mode to build an image; the build runs this repository's "
            "own Dockerfile alone.",
        )
        return project


def permit_ecr_login(role: iam.Role) -> None:
    """Let `role` log in to the registry."""
    permit(
        role,
        ["ecr:GetAuthorizationToken"],
        ["*"],
        why="ecr:GetAuthorizationToken is not of one repository.",
    )
