"""Processing jobs."""

from __future__ import annotations

from collections.abc import Sequence

from local.services.base import Caller, Document, Host, RoleSession, SyncJob
from local.services.images import Image
from local.services.sagemaker.common import SageMakerPart, in_milliseconds, invalid, page
from local.services.sagemaker.jobs import BASE, Job, JobBoard, JobKind
from local.services.sagemaker.transfer import upload_folder

KIND = JobKind(
    title="ProcessingJob",
    resource="processing-job",
    event="SageMaker Processing Job State Change",
    log_group="/aws/sagemaker/ProcessingJobs",
)
_DEFAULT_SECONDS = 86_400
_KEPT = (
    "ProcessingInputs",
    "ProcessingOutputConfig",
    "ProcessingResources",
    "StoppingCondition",
    "AppSpecification",
    "Environment",
    "NetworkConfig",
    "RoleArn",
    "ExperimentConfig",
)

SYNC = SyncJob(
    start="CreateProcessingJob",
    describe="DescribeProcessingJob",
    stop="StopProcessingJob",
    identify=lambda request, _: {"ProcessingJobName": request["ProcessingJobName"]},
    status=lambda described: str(described["ProcessingJobStatus"]),
    succeeded=frozenset({"Completed"}),
    failed=frozenset({"Failed", "Stopped"}),
    result=in_milliseconds,
)


class ProcessingJob(Job):
    """A processing job."""

    kind = KIND

    def image_uri(self) -> str:
        """The image."""
        return str(self.description["AppSpecification"]["ImageUri"])

    def command(self, image: Image) -> list[str]:
        """The job's own entry point and arguments, or the image's."""
        specification = self.description["AppSpecification"]
        entrypoint = specification.get("ContainerEntrypoint", image.entrypoint)
        arguments = specification.get("ContainerArguments")
        if arguments is None:
            own = "ContainerEntrypoint" in specification
            arguments = [] if own else image.arguments
        return [*entrypoint, *arguments]

    def variables(self) -> dict[str, str]:
        """The request's variables and the job's ARN."""
        description = self.description
        found: dict[str, str] = description.get("Environment", {})
        return {**found, "PROCESSING_JOB_ARN": description["ProcessingJobArn"]}

    def prepare(self, session: RoleSession) -> None:
        """Fetch the inputs and make the folders of the outputs."""
        description = self.description
        cluster = description["ProcessingResources"]["ClusterConfig"]
        self.write_config(f"{BASE}/config/processingjobconfig.json", in_milliseconds(description))
        self.write_config(
            f"{BASE}/config/resourceconfig.json",
            {
                "current_host": "algo-1",
                "hosts": ["algo-1"],
                "current_instance_type": cluster["InstanceType"],
            },
        )
        for given in description.get("ProcessingInputs", []):
            source = given["S3Input"]
            self.fetch(session, source, self.local(source["LocalPath"]))
        for output in description.get("ProcessingOutputConfig", {}).get("Outputs", []):
            self.local(output["S3Output"]["LocalPath"]).mkdir(parents=True, exist_ok=True)

    def deliver(self, session: RoleSession) -> Document:
        """Put the outputs into S3."""
        config = self.description.get("ProcessingOutputConfig", {})
        client = session.client("s3")
        for output in config.get("Outputs", []):
            target = output["S3Output"]
            folder = self.local(target["LocalPath"])
            upload_folder(client, folder, target["S3Uri"], config.get("KmsKeyId"))
        return {}

    def limit_seconds(self) -> float:
        """As the request says; a day by default."""
        condition = self.description.get("StoppingCondition", {})
        return float(condition.get("MaxRuntimeInSeconds", _DEFAULT_SECONDS))

    def started(self) -> Document:
        """The start of the process."""
        return {"ProcessingStartTime": self.host.now()}

    def finished(self, status: str, timed_out: bool) -> Document:
        """The end of the process."""
        ended: Document = {"ProcessingEndTime": self.host.now()}
        if status == "Stopped" and timed_out:
            ended["FailureReason"] = (
                "ClientError: The processing job exceeded its MaxRuntimeInSeconds"
            )
        return ended


class ProcessingJobs(SageMakerPart):
    """The operations on processing jobs."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.processing = JobBoard(host, self.folder, KIND)

    def create_processing_job(self, request: Document, caller: Caller) -> Document:
        """Start a processing job."""
        _check(request)
        self.take_role(request["RoleArn"], caller)
        name = request["ProcessingJobName"]
        arn = self.arn(KIND.resource, name)
        now = self.host.now()
        description = {
            "ProcessingJobName": name,
            "ProcessingJobArn": arn,
            "ProcessingJobStatus": "InProgress",
            **{member: request[member] for member in _KEPT if member in request},
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        self.tag(arn, request, caller)
        self.processing.begin(ProcessingJob, description)
        return {"ProcessingJobArn": arn}

    def describe_processing_job(self, request: Document, caller: Caller) -> Document:
        """Describe a processing job."""
        del caller
        return self.processing.find(request["ProcessingJobName"])

    def stop_processing_job(self, request: Document, caller: Caller) -> Document:
        """Stop a processing job: SIGTERM, then SIGKILL."""
        del caller
        self.processing.halt(request["ProcessingJobName"])
        return {}

    def list_processing_jobs(self, request: Document, caller: Caller) -> Document:
        """List processing jobs."""
        del caller
        return page(
            request,
            self.processing.shelf.values(),
            KIND.name,
            KIND.status,
            _summary,
            "ProcessingJobSummaries",
        )


def _check(request: Document) -> None:
    """Refuse what would run differently from what the request says."""
    if request["ProcessingResources"]["ClusterConfig"]["InstanceCount"] != 1:
        raise invalid("The local cloud runs a job on one instance.")
    names: Sequence[str] = [given["InputName"] for given in request.get("ProcessingInputs", [])]
    if len(set(names)) != len(names):
        raise invalid("The names of the processing inputs must be unique.")
    for given in request.get("ProcessingInputs", []):
        source = given.get("S3Input")
        if source is None or given.get("AppManaged") or "LocalPath" not in source:
            raise invalid(
                f"Input {given['InputName']}: the local cloud takes S3Input with a LocalPath."
            )
        if source.get("S3InputMode", "File") != "File":
            raise invalid(f"Input {given['InputName']}: the local cloud knows S3InputMode File.")
    for output in request.get("ProcessingOutputConfig", {}).get("Outputs", []):
        target = output.get("S3Output")
        if target is None or output.get("AppManaged") or "LocalPath" not in target:
            raise invalid(
                f"Output {output['OutputName']}: the local cloud takes S3Output with a LocalPath."
            )


_SUMMARY: tuple[str, ...] = (
    "ProcessingJobName",
    "ProcessingJobArn",
    "CreationTime",
    "ProcessingEndTime",
    "LastModifiedTime",
    "ProcessingJobStatus",
    "FailureReason",
    "ExitMessage",
)


def _summary(description: Document) -> Document:
    return {name: description[name] for name in _SUMMARY if name in description}
