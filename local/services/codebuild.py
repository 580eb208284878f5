"""CodeBuild: projects whose builds make images, each build in a thread.

A build's commands are followed by `local.services.build_commands`. Not enforced: compute types,
caches, VPC settings, reports, artifacts, batch builds and webhooks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import RLock, Thread
from typing import Any, ClassVar
from uuid import uuid4

from local.services.base import (
    Caller,
    Document,
    Host,
    Resource,
    ResourceType,
    Service,
    ServiceError,
    SyncJob,
)
from local.services.build_run import PRINCIPAL, BuildRun
from local.services.cloudformation import generated_name, members
from local.services.definitions import service_model
from local.services.shelf import Shelf

_RUNNING = "IN_PROGRESS"
_MEMBERS = (
    "description",
    "source",
    "sourceVersion",
    "artifacts",
    "cache",
    "environment",
    "serviceRole",
    "timeoutInMinutes",
    "queuedTimeoutInMinutes",
    "encryptionKey",
    "tags",
    "vpcConfig",
    "logsConfig",
    "concurrentBuildLimit",
)


class CodeBuild(Service):
    """AWS CodeBuild."""

    model = "codebuild"
    iam_prefix = "codebuild"
    sync_jobs: ClassVar[Sequence[SyncJob]] = (
        SyncJob(
            start="StartBuild",
            describe="BatchGetBuilds",
            stop="StopBuild",
            identify=lambda _, started: {"ids": [started["build"]["id"]]},
            status=lambda described: str(described["builds"][0]["buildStatus"]),
            succeeded=frozenset({"SUCCEEDED"}),
            failed=frozenset({"FAILED", "FAULT", "STOPPED", "TIMED_OUT"}),
            result=lambda described: {"Build": described["builds"][0]},
        ),
    )

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._lock = RLock()
        self._projects = Shelf(host.state_directory / "codebuild" / "projects")
        self._builds = Shelf(host.state_directory / "codebuild" / "builds")
        self._runs: dict[str, tuple[BuildRun, Thread]] = {}

    def resources(self, operation: str, request: Document, caller: Caller) -> Sequence[str]:
        """The project's ARN, also where builds are named, for their ids begin with its name."""
        del operation, caller
        names = request.get("names", [])
        for key in ("projectName", "name"):
            names = [*names, request[key]] if key in request else names
        ids = [*request.get("ids", []), *([request["id"]] if "id" in request else [])]
        names = [*names, *(build.rpartition("/")[2].partition(":")[0] for build in ids)]
        return [self._arn("project", name) for name in names] or ["*"]

    def resource_types(self) -> Sequence[ResourceType]:
        """`AWS::CodeBuild::Project`."""
        return [ProjectType(self)]

    def start(self) -> None:
        """Close the builds that ended with the cloud."""
        for build in self._builds.values():
            if build["buildStatus"] == _RUNNING:
                now = self.host.now()
                build["phases"].append({"phaseType": "COMPLETED", "startTime": now})
                build.update(
                    buildStatus="FAULT", currentPhase="COMPLETED", buildComplete=True, endTime=now
                )
                self._save(build)

    def stop(self) -> None:
        """Stop the builds that run."""
        with self._lock:
            running = list(self._runs.values())
        for run, _ in running:
            run.stop()
        for _, thread in running:
            thread.join(10)

    def create_project(self, request: Document, caller: Caller) -> Document:
        """Make a project."""
        self.ask_pass_role(caller, PRINCIPAL, request["serviceRole"])
        now = self.host.now()
        project = {
            "name": request["name"],
            "arn": self._arn("project", request["name"]),
            "timeoutInMinutes": 60,
            "queuedTimeoutInMinutes": 480,
            **{name: request[name] for name in _MEMBERS if name in request},
            "created": now,
            "lastModified": now,
        }
        if not self._projects.add(request["name"], project):
            raise ServiceError(
                "ResourceAlreadyExistsException", f"Project already exists: {project['arn']}"
            )
        return {"project": project}

    def update_project(self, request: Document, caller: Caller) -> Document:
        """Change a project."""
        project = self._project(request["name"])
        if "serviceRole" in request:
            self.ask_pass_role(caller, PRINCIPAL, request["serviceRole"])
        changed = {name: request[name] for name in _MEMBERS if name in request}
        changed["lastModified"] = self.host.now()
        return {"project": self._projects.change(project["name"], **changed)}

    def delete_project(self, request: Document, caller: Caller) -> Document:
        """Remove a project; one that is not there is no error."""
        del caller
        self._projects.remove(request["name"])
        return {}

    def batch_get_projects(self, request: Document, caller: Caller) -> Document:
        """Describe projects by name."""
        del caller
        names = request["names"]
        found = [project for name in names if (project := self._projects.get(name))]
        known = {project["name"] for project in found}
        return {"projects": found, "projectsNotFound": [n for n in names if n not in known]}

    def list_projects(self, request: Document, caller: Caller) -> Document:
        """List the names of all projects."""
        del request, caller
        return {"projects": sorted(project["name"] for project in self._projects.values())}

    def start_build(self, request: Document, caller: Caller) -> Document:
        """Start a build; it goes on in a thread."""
        del caller
        project = self._project(request["projectName"])
        build = self._new_build(project, request)
        run = BuildRun(self.host, build, self._save)
        thread = Thread(target=self._carry_out, args=(run,), name=build["id"], daemon=True)
        with self._lock:
            self._builds.put(build["id"], build)
            self._runs[build["id"]] = run, thread
        self._announce(build)
        described = self._builds.get(build["id"])
        thread.start()
        return {"build": described}

    def batch_get_builds(self, request: Document, caller: Caller) -> Document:
        """Describe builds by id or ARN."""
        del caller
        ids = [name.rpartition(":build/")[2] for name in request["ids"]]
        found = [build for name in ids if (build := self._builds.get(name))]
        known = {build["id"] for build in found}
        return {"builds": found, "buildsNotFound": [name for name in ids if name not in known]}

    def stop_build(self, request: Document, caller: Caller) -> Document:
        """Stop a build that runs."""
        del caller
        name = request["id"].rpartition(":build/")[2]
        if name not in self._builds:
            raise ServiceError("ResourceNotFoundException", f"Build not found: {request['id']}")
        with self._lock:
            running = self._runs.get(name)
        if running:
            running[0].stop()
            running[1].join(5)
        return {"build": self._builds.get(name)}

    def list_builds(self, request: Document, caller: Caller) -> Document:
        """List the ids of all builds, the newest first."""
        del caller
        return {"ids": self._ids(request, lambda _: True)}

    def list_builds_for_project(self, request: Document, caller: Caller) -> Document:
        """List the ids of a project's builds, the newest first."""
        del caller
        name = self._project(request["projectName"])["name"]
        return {"ids": self._ids(request, lambda build: bool(build["projectName"] == name))}

    def _ids(self, request: Document, wanted: Callable[[Document], bool]) -> list[str]:
        builds = sorted(self._builds.values(), key=lambda build: float(build["startTime"]))
        ids = [build["id"] for build in builds if wanted(build)]
        return ids if request.get("sortOrder") == "ASCENDING" else ids[::-1]

    def _carry_out(self, run: BuildRun) -> None:
        build = run.build
        try:
            run.run()
        finally:
            with self._lock:
                self._runs.pop(build["id"], None)
            self._announce(build)
            dimensions = {"ProjectName": build["projectName"]}
            outcome = "SucceededBuilds" if build["buildStatus"] == "SUCCEEDED" else "FailedBuilds"
            seconds = build["endTime"] - build["startTime"]
            self.host.put_metric("AWS/CodeBuild", "Builds", 1, "Count", dimensions)
            self.host.put_metric("AWS/CodeBuild", outcome, 1, "Count", dimensions)
            self.host.put_metric("AWS/CodeBuild", "Duration", seconds, "Seconds", dimensions)

    def _announce(self, build: Document) -> None:
        self.host.put_event(
            "aws.codebuild",
            "CodeBuild Build State Change",
            {
                "build-status": build["buildStatus"],
                "project-name": build["projectName"],
                "build-id": build["arn"],
                "current-phase": build["currentPhase"],
                "version": "1",
            },
            [build["arn"]],
        )

    def _new_build(self, project: Document, request: Document) -> Document:
        identity = str(uuid4())
        name = project["name"]
        source, environment = dict(project["source"]), dict(project["environment"])
        for key, member in (("sourceTypeOverride", "type"), ("sourceLocationOverride", "location")):
            source.update({member: request[key]} if key in request else {})
        if "buildspecOverride" in request:
            source["buildspec"] = request["buildspecOverride"]
        if "privilegedModeOverride" in request:
            environment["privilegedMode"] = request["privilegedModeOverride"]
        variables = {item["name"]: item for item in environment.get("environmentVariables", [])}
        overrides = request.get("environmentVariablesOverride", [])
        variables.update({item["name"]: item for item in overrides})
        environment["environmentVariables"] = list(variables.values())
        group = project.get("logsConfig", {}).get("cloudWatchLogs", {}).get("groupName")
        version = request.get("sourceVersion", project.get("sourceVersion"))
        number = sum(build["projectName"] == name for build in self._builds.values()) + 1
        return {
            "id": f"{name}:{identity}",
            "arn": self._arn("build", f"{name}:{identity}"),
            "buildNumber": number,
            "startTime": self.host.now(),
            "currentPhase": "SUBMITTED",
            "buildStatus": _RUNNING,
            **({"sourceVersion": version} if version else {}),
            "projectName": name,
            "phases": [],
            "source": source,
            "artifacts": {"location": ""},
            "environment": environment,
            "serviceRole": request.get("serviceRoleOverride", project["serviceRole"]),
            "logs": {"groupName": group or f"/aws/codebuild/{name}", "streamName": identity},
            "timeoutInMinutes": request.get(
                "timeoutInMinutesOverride", project["timeoutInMinutes"]
            ),
            "queuedTimeoutInMinutes": project["queuedTimeoutInMinutes"],
            "buildComplete": False,
            "initiator": "tidemill",
        }

    def _save(self, build: Document) -> None:
        self._builds.put(build["id"], build)

    def _project(self, name: str) -> Document:
        project = self._projects.get(name.rpartition(":project/")[2])
        if project is None:
            raise ServiceError(
                "ResourceNotFoundException",
                f"Project cannot be found: {self._arn('project', name)}",
            )
        return project

    def _arn(self, kind: str, name: str) -> str:
        return f"arn:aws:codebuild:{self.host.region}:{self.host.account}:{kind}/{name}"


class ProjectType:
    """`AWS::CodeBuild::Project`: Ref is the name."""

    type_name = "AWS::CodeBuild::Project"
    create_only = frozenset({"Name"})

    def __init__(self, service: CodeBuild) -> None:
        self._service = service
        self._shape: Any = service_model("codebuild").operation_model("CreateProject").input_shape

    def create(self, logical_id: str, properties: Document, caller: Caller) -> Resource:
        """Make the project, named by the logical id if it has no name."""
        request = members(self._shape, properties)
        request.setdefault("name", generated_name(logical_id))
        return _resource(self._service.create_project(request, caller)["project"])

    def update(self, physical_id: str, old: Document, new: Document, caller: Caller) -> Resource:
        """Change the project."""
        del old
        request = {**members(self._shape, new), "name": physical_id}
        return _resource(self._service.update_project(request, caller)["project"])

    def delete(self, physical_id: str, properties: Document, caller: Caller) -> None:
        """Remove the project."""
        del properties
        self._service.delete_project({"name": physical_id}, caller)


def _resource(project: Document) -> Resource:
    return Resource(project["name"], {"Arn": project["arn"]})
