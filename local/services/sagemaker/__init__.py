"""SageMaker: jobs, hosting and its runtime, on processes of this machine.

Not enforced: instance types and sizes, volumes, VPC settings, spot interruptions, debugger and
profiler rules. What would change a result and is not carried out is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from local.services.base import Caller, Document, ResourceType
from local.services.sagemaker import processing, training
from local.services.sagemaker.hosting import Hosting
from local.services.sagemaker.models import ModelPackageGroupType
from local.services.sagemaker.processing import ProcessingJobs
from local.services.sagemaker.runtime import SageMakerRuntime
from local.services.sagemaker.training import TrainingJobs

__all__ = ["SageMaker", "SageMakerRuntime"]

_KINDS = {
    "TrainingJobName": "training-job",
    "ProcessingJobName": "processing-job",
    "ModelName": "model",
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "ModelPackageGroupName": "model-package-group",
}


class SageMaker(ProcessingJobs, TrainingJobs, Hosting):
    """Amazon SageMaker's control plane."""

    sync_jobs = (processing.SYNC, training.SYNC)

    def resources(self, operation: str, request: Document, caller: Caller) -> Sequence[str]:
        """The ARN of every resource that the request names, each of which IAM is asked for."""
        del caller
        if operation.startswith("List") and operation != "ListTags":
            return ["*"]
        if "ResourceArn" in request:
            return [request["ResourceArn"]]
        found = [
            self.arn(kind, request[member].rpartition("/")[2])
            for member, kind in _KINDS.items()
            if member in request
        ]
        return found or ["*"]

    def resource_types(self) -> Sequence[ResourceType]:
        """`AWS::SageMaker::ModelPackageGroup`."""
        return [ModelPackageGroupType(self)]

    def start(self) -> None:
        """Bring back endpoints, and close the jobs that ended with the last cloud."""
        self.processing.recover()
        self.training.recover()
        self.start_hosting()

    def stop(self) -> None:
        """End every job and server."""
        self.processing.close()
        self.training.close()
        self.stop_hosting()
