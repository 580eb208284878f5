"""Training jobs."""

from __future__ import annotations

import re
import shutil
from typing import Any

from local.services.base import Caller, Document, Host, RoleSession, SyncJob
from local.services.images import Image
from local.services.sagemaker.common import SageMakerPart, in_milliseconds, invalid, page
from local.services.sagemaker.jobs import BASE, FINAL, Job, JobBoard, JobKind
from local.services.sagemaker.transfer import (
    pack,
    upload_file,
    upload_folder,
)

KIND = JobKind(
    title="TrainingJob",
    resource="training-job",
    event="SageMaker Training Job State Change",
    log_group="/aws/sagemaker/TrainingJobs",
)
_KEPT = (
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "VpcConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "ExperimentConfig",
    "Environment",
    "RetryStrategy",
)
_NOT_CARRIED_OUT = ("CheckpointConfig", "RemoteDebugConfig", "ServerlessJobConfig")
_MESSAGES = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Stopping": "Stopping the training job",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "Failed": "Training job failed",
}

SYNC = SyncJob(
    start="CreateTrainingJob",
    describe="DescribeTrainingJob",
    stop="StopTrainingJob",
    identify=lambda request, _: {"TrainingJobName": request["TrainingJobName"]},
    status=lambda described: str(described["TrainingJobStatus"]),
    succeeded=frozenset({"Completed"}),
    failed=frozenset({"Failed", "Stopped"}),
    result=in_milliseconds,
)


class TrainingJob(Job):
    """A training job."""

    kind = KIND

    def image_uri(self) -> str:
        """The image."""
        return str(self.description["AlgorithmSpecification"]["TrainingImage"])

    def command(self, image: Image) -> list[str]:
        """The image's entry point with `train`, or the job's own command."""
        algorithm = self.description["AlgorithmSpecification"]
        own = algorithm.get("ContainerEntrypoint")
        arguments = algorithm.get("ContainerArguments", [] if own else ["train"])
        return [*(own or image.entrypoint), *arguments]

    def variables(self) -> dict[str, str]:
        """The request's variables, and the job's name and ARN."""
        description = self.description
        return {
            **description.get("Environment", {}),
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": description["TrainingJobArn"],
        }

    def prepare(self, session: RoleSession) -> None:
        """Write the configuration and fetch the channels."""
        self.change(**self._enter("Downloading"))
        description = self.description
        channels = description.get("InputDataConfig", [])
        self.write_config(
            f"{BASE}/input/config/hyperparameters.json", description.get("HyperParameters", {})
        )
        self.write_config(
            f"{BASE}/input/config/inputdataconfig.json",
            {channel["ChannelName"]: _channel_config(channel) for channel in channels},
        )
        self.write_config(
            f"{BASE}/input/config/resourceconfig.json",
            {
                "current_host": "algo-1",
                "current_instance_type": description["ResourceConfig"].get("InstanceType"),
                "hosts": ["algo-1"],
                "network_interface_name": "lo",
            },
        )
        for part in ("model", "output/data", "checkpoints"):
            (self.base / part).mkdir(parents=True, exist_ok=True)
        for channel in channels:
            source = channel["DataSource"]["S3DataSource"]
            folder = self.local(f"{BASE}/input/data/{channel['ChannelName']}")
            self.fetch(session, source, folder)

    def deliver(self, session: RoleSession) -> Document:
        """Put the model, and what else the process left, into S3."""
        self.change(**self._enter("Uploading"), **self._metrics())
        config = self.description["OutputDataConfig"]
        prefix = f"{config['S3OutputPath'].rstrip('/')}/{self.name}/output"
        key, client = config.get("KmsKeyId"), session.client("s3")
        model, data = self.base / "model", self.base / "output" / "data"
        if any(data.iterdir()):
            archive = self.base / "output.tar.gz"
            pack(data, archive)
            upload_file(client, archive, f"{prefix}/output.tar.gz", key)
        if not any(model.iterdir()):
            return {}
        if config.get("CompressionType") == "NONE":
            upload_folder(client, model, f"{prefix}/model", key)
            return {"ModelArtifacts": {"S3ModelArtifacts": f"{prefix}/model/"}}
        archive = self.base / "model.tar.gz"
        pack(model, archive)
        shutil.rmtree(model)
        upload_file(client, archive, f"{prefix}/model.tar.gz", key)
        return {"ModelArtifacts": {"S3ModelArtifacts": f"{prefix}/model.tar.gz"}}

    def limit_seconds(self) -> float:
        """As the request says; a day by default."""
        condition = self.description["StoppingCondition"]
        return float(condition.get("MaxRuntimeInSeconds", 86_400))

    def started(self) -> Document:
        """The start of the process."""
        return {"TrainingStartTime": self.host.now(), **self._enter("Training")}

    def stopping(self) -> Document:
        """The order to stop."""
        return self._enter("Stopping")

    def finished(self, status: str, timed_out: bool) -> Document:
        """The end, with the times that a bill would show."""
        secondary = "MaxRuntimeExceeded" if status == "Stopped" and timed_out else status
        now = self.host.now()
        seconds = max(1, int(now - self.description.get("TrainingStartTime", now)))
        return {
            "TrainingEndTime": now,
            "TrainingTimeInSeconds": seconds,
            "BillableTimeInSeconds": seconds,
            **self._enter(secondary),
        }

    def _enter(self, status: str) -> Document:
        now = self.host.now()
        transitions = self.description["SecondaryStatusTransitions"]
        if transitions:
            transitions[-1]["EndTime"] = now
        entered: Document = {"Status": status, "StartTime": now, "StatusMessage": _MESSAGES[status]}
        if status in (*FINAL, "MaxRuntimeExceeded"):
            entered["EndTime"] = now
        transitions.append(entered)
        return {"SecondaryStatus": status, "SecondaryStatusTransitions": transitions}

    def _metrics(self) -> Document:
        """What the request's regular expressions find in the log, each metric's last value."""
        found: list[dict[str, Any]] = []
        for metric in self.description["AlgorithmSpecification"].get("MetricDefinitions", []):
            values = re.findall(metric["Regex"], "\n".join(self.lines))
            try:
                value = float(values[-1])
            except (IndexError, ValueError, TypeError):
                continue
            found.append(
                {"MetricName": metric["Name"], "Value": value, "Timestamp": self.host.now()}
            )
            dimensions = {"TrainingJobName": self.name}
            namespace = KIND.log_group
            self.host.put_metric(namespace, metric["Name"], value, "None", dimensions)
        return {"FinalMetricDataList": found} if found else {}


class TrainingJobs(SageMakerPart):
    """The operations on training jobs."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.training = JobBoard(host, self.folder, KIND)

    def create_training_job(self, request: Document, caller: Caller) -> Document:
        """Start a training job."""
        _check(request)
        self.take_role(request["RoleArn"], caller)
        name = request["TrainingJobName"]
        arn = self.arn(KIND.resource, name)
        now = self.host.now()
        first = {"Status": "Starting", "StartTime": now, "StatusMessage": _MESSAGES["Starting"]}
        description = {
            "TrainingJobName": name,
            "TrainingJobArn": arn,
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Starting",
            "SecondaryStatusTransitions": [first],
            "EnableNetworkIsolation": False,
            "EnableInterContainerTrafficEncryption": False,
            "EnableManagedSpotTraining": False,
            **{member: request[member] for member in _KEPT if member in request},
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        self.tag(arn, request, caller)
        self.training.begin(TrainingJob, description)
        return {"TrainingJobArn": arn}

    def describe_training_job(self, request: Document, caller: Caller) -> Document:
        """Describe a training job."""
        del caller
        return self.training.find(request["TrainingJobName"])

    def stop_training_job(self, request: Document, caller: Caller) -> Document:
        """Stop a training job: SIGTERM, then SIGKILL; what it left in its model folder is kept."""
        del caller
        self.training.halt(request["TrainingJobName"])
        return {}

    def list_training_jobs(self, request: Document, caller: Caller) -> Document:
        """List training jobs."""
        del caller
        return page(
            request,
            self.training.shelf.values(),
            KIND.name,
            KIND.status,
            _summary,
            "TrainingJobSummaries",
        )


def _check(request: Document) -> None:
    """Refuse what would run differently from what the request says."""
    for member in _NOT_CARRIED_OUT:
        if member in request:
            raise invalid(f"The local cloud does not carry out {member}.")
    if request.get("ResourceConfig", {}).get("InstanceCount", 1) != 1:
        raise invalid("The local cloud runs a job on one instance.")
    for member in ("AlgorithmSpecification", "OutputDataConfig", "ResourceConfig"):
        if member not in request:
            raise invalid(f"{member} is required.")
    if "TrainingImage" not in request["AlgorithmSpecification"]:
        raise invalid("You must specify either an AlgorithmName or a TrainingImage.")
    mode = request["AlgorithmSpecification"]["TrainingInputMode"]
    for channel in request.get("InputDataConfig", []):
        name = channel["ChannelName"]
        if channel.get("InputMode", mode) == "Pipe":
            raise invalid(f"Channel {name}: the local cloud knows the modes File and FastFile.")
        source = channel["DataSource"].get("S3DataSource", {})
        if source.get("S3DataType") not in ("S3Prefix", "ManifestFile"):
            raise invalid(f"Channel {name}: the local cloud takes S3Prefix and ManifestFile.")


def _channel_config(channel: Document) -> Document:
    return {
        "TrainingInputMode": channel.get("InputMode", "File"),
        "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
            "S3DataDistributionType", "FullyReplicated"
        ),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        "ContentType": channel.get("ContentType"),
    }


def _summary(description: Document) -> Document:
    names = (
        "TrainingJobName",
        "TrainingJobArn",
        "CreationTime",
        "TrainingEndTime",
        "LastModifiedTime",
        "TrainingJobStatus",
        "SecondaryStatus",
    )
    return {name: description[name] for name in names if name in description}
