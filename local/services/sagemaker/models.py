"""Models and endpoint configurations, and model package groups: what only has to be remembered."""

from __future__ import annotations

from botocore.exceptions import ClientError

from local.services.base import Caller, Document, Host, Resource, ServiceError
from local.services.sagemaker.common import ImageRefused, SageMakerPart, invalid, page, pull
from local.services.sagemaker.server import model_source
from local.services.sagemaker.transfer import split
from local.services.shelf import Shelf


class Models(SageMakerPart):
    """The operations on models, endpoint configurations and model package groups."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.models = Shelf(self.folder / "models")
        self.configs = Shelf(self.folder / "endpoint-configs")
        self.groups = Shelf(self.folder / "model-package-groups")

    def create_model(self, request: Document, caller: Caller) -> Document:
        """Keep a model whose image and data its role can reach."""
        name = request["ModelName"]
        arn = self.arn("model", name)
        containers = request.get("Containers", [])
        container = request.get("PrimaryContainer") or (containers or [None])[0]
        if container is None or len(containers) > 1 or "Image" not in container:
            raise invalid("The local cloud serves a model of one container with an Image.")
        if "ExecutionRoleArn" not in request:
            raise invalid("The local cloud needs an ExecutionRoleArn for a model.")
        self._check_reachable(container, request["ExecutionRoleArn"], caller)
        if name in self.models:
            raise invalid(f'Cannot create already existing model "{arn}".')
        members = ("ExecutionRoleArn", "VpcConfig", "EnableNetworkIsolation")
        self.tag(arn, request, caller)
        self.models.put(
            name,
            {
                "ModelName": name,
                "ModelArn": arn,
                "PrimaryContainer": container,
                "EnableNetworkIsolation": False,
                **{member: request[member] for member in members if member in request},
                "CreationTime": self.host.now(),
            },
        )
        return {"ModelArn": arn}

    def describe_model(self, request: Document, caller: Caller) -> Document:
        """Describe a model."""
        del caller
        return self.model_named(request["ModelName"])

    def delete_model(self, request: Document, caller: Caller) -> Document:
        """Forget a model; an endpoint that serves it goes on."""
        del caller
        self.model_named(request["ModelName"])
        self.models.remove(request["ModelName"])
        return {}

    def list_models(self, request: Document, caller: Caller) -> Document:
        """List models."""
        del caller
        members = ("ModelName", "ModelArn", "CreationTime")
        return page(
            request,
            self.models.values(),
            "ModelName",
            None,
            lambda model: {member: model[member] for member in members},
            "Models",
        )

    def create_endpoint_config(self, request: Document, caller: Caller) -> Document:
        """Keep an endpoint configuration whose models exist."""
        name = request["EndpointConfigName"]
        arn = self.arn("endpoint-config", name)
        for member in ("AsyncInferenceConfig", "ShadowProductionVariants", "ExplainerConfig"):
            if request.get(member):
                raise invalid(f"The local cloud does not carry out {member}.")
        for variant in request["ProductionVariants"]:
            self._check_variant(variant)
        if name in self.configs:
            raise invalid(f'Cannot create already existing endpoint configuration "{arn}".')
        self.tag(arn, request, caller)
        kept = {member: value for member, value in request.items() if member != "Tags"}
        kept |= {"EndpointConfigArn": arn, "CreationTime": self.host.now()}
        self.configs.put(name, kept)
        return {"EndpointConfigArn": arn}

    def describe_endpoint_config(self, request: Document, caller: Caller) -> Document:
        """Describe an endpoint configuration."""
        del caller
        return self.config_named(request["EndpointConfigName"])

    def delete_endpoint_config(self, request: Document, caller: Caller) -> Document:
        """Forget an endpoint configuration."""
        del caller
        self.config_named(request["EndpointConfigName"])
        self.configs.remove(request["EndpointConfigName"])
        return {}

    def list_endpoint_configs(self, request: Document, caller: Caller) -> Document:
        """List endpoint configurations."""
        del caller
        members = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
        return page(
            request,
            self.configs.values(),
            "EndpointConfigName",
            None,
            lambda config: {member: config[member] for member in members},
            "EndpointConfigs",
        )

    def model_named(self, name: str) -> Document:
        """A model. Raises `ServiceError`."""
        found = self.models.get(name)
        if found is None:
            raise invalid(f'Could not find model "{self.arn("model", name)}".')
        return found

    def config_named(self, name: str) -> Document:
        """An endpoint configuration. Raises `ServiceError`."""
        found = self.configs.get(name)
        if found is None:
            raise invalid(
                f'Could not find endpoint configuration "{self.arn("endpoint-config", name)}".'
            )
        return found

    def create_model_package_group(self, request: Document, caller: Caller) -> Document:
        """Make a group for model packages."""
        name = request["ModelPackageGroupName"]
        arn = self.arn("model-package-group", name)
        group = {
            "ModelPackageGroupName": name,
            "ModelPackageGroupArn": arn,
            "CreationTime": self.host.now(),
            "CreatedBy": {},
            "ModelPackageGroupStatus": "Completed",
        }
        if "ModelPackageGroupDescription" in request:
            group["ModelPackageGroupDescription"] = request["ModelPackageGroupDescription"]
        self.tag(arn, request, caller)
        if not self.groups.add(name, group):
            raise invalid(f"Model Package Group already exists: {arn}")
        return {"ModelPackageGroupArn": arn}

    def describe_model_package_group(self, request: Document, caller: Caller) -> Document:
        """Describe a group, by name or ARN."""
        del caller
        name = request["ModelPackageGroupName"].rpartition("/")[2]
        found = self.groups.get(name)
        if found is None:
            raise invalid(f"ModelPackageGroup {self.arn('model-package-group', name)} not found.")
        return found

    def delete_model_package_group(self, request: Document, caller: Caller) -> Document:
        """Forget a group."""
        found = self.describe_model_package_group(request, caller)
        self.groups.remove(found["ModelPackageGroupName"])
        return {}

    def list_model_package_groups(self, request: Document, caller: Caller) -> Document:
        """List groups."""
        del caller
        hidden = ("CreatedBy",)
        return page(
            request,
            self.groups.values(),
            "ModelPackageGroupName",
            "ModelPackageGroupStatus",
            lambda group: {key: value for key, value in group.items() if key not in hidden},
            "ModelPackageGroupSummaryList",
        )

    def _check_variant(self, variant: Document) -> None:
        self.model_named(variant.get("ModelName", ""))
        name = variant["VariantName"]
        if "ServerlessConfig" in variant:
            if "InstanceType" in variant or "InitialInstanceCount" in variant:
                raise invalid(
                    f"Variant {name}: ServerlessConfig excludes InstanceType and "
                    "InitialInstanceCount."
                )
        elif "InstanceType" not in variant or "InitialInstanceCount" not in variant:
            raise invalid(
                f"Variant {name} needs InstanceType and InitialInstanceCount, or ServerlessConfig."
            )

    def _check_reachable(self, container: Document, role: str, caller: Caller) -> None:
        session = self.take_role(role, caller)
        try:
            pull(self.host, session, container["Image"])
        except ImageRefused as error:
            if error.denied:
                raise invalid(
                    f"Access denied for image {container['Image']}. Please check if your ECR "
                    f"repository and image exist and role {role} has proper pull permissions for "
                    f"SageMaker: ecr:BatchGetImage, ecr:GetDownloadUrlForLayer. {error}"
                ) from None
            raise invalid(f"Requested image {container['Image']} not found. {error}") from None
        uri, packed = model_source(container)
        if uri is None or not packed:
            return
        bucket, key = split(uri)
        try:
            session.client("s3").head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NoSuchBucket"):
                raise invalid(f"Could not find model data at {uri}.") from None
            raise invalid(
                f"Could not access model data at {uri}. Please ensure that the role "
                f'"{role}" exists and that its trust relationship policy allows the action '
                '"sts:AssumeRole" for the service principal "sagemaker.amazonaws.com". Also ensure '
                'that the role has "s3:GetObject" permissions and that the object is located in '
                f"{self.host.region}."
            ) from None


class ModelPackageGroupType:
    """`AWS::SageMaker::ModelPackageGroup`: Ref is the ARN."""

    type_name = "AWS::SageMaker::ModelPackageGroup"
    create_only = frozenset({"ModelPackageGroupName", "ModelPackageGroupDescription"})

    def __init__(self, service: Models) -> None:
        self._service = service

    def create(self, logical_id: str, properties: Document, caller: Caller) -> Resource:
        """Make the group; its name is required."""
        del logical_id
        arn = self._service.create_model_package_group(properties, caller)["ModelPackageGroupArn"]
        return self._resource(arn, caller)

    def update(self, physical_id: str, old: Document, new: Document, caller: Caller) -> Resource:
        """Change the tags, the only thing that can change in place."""
        del old
        self._service.tags.put(physical_id, {"Tags": new.get("Tags", [])})
        return self._resource(physical_id, caller)

    def delete(self, physical_id: str, properties: Document, caller: Caller) -> None:
        """Forget the group."""
        del properties
        try:
            self._service.delete_model_package_group({"ModelPackageGroupName": physical_id}, caller)
        except ServiceError as error:
            if "not found" not in error.message:
                raise

    def _resource(self, arn: str, caller: Caller) -> Resource:
        described = self._service.describe_model_package_group(
            {"ModelPackageGroupName": arn}, caller
        )
        return Resource(
            arn,
            {
                "ModelPackageGroupArn": arn,
                "ModelPackageGroupStatus": described["ModelPackageGroupStatus"],
                "CreationTime": str(described["CreationTime"]),
            },
        )
