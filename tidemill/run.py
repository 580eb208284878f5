"""A run: its id, the plan that it follows, and how it may end.

The plan is everything that the state machine needs to know of a model; it is made once, when a
run opens, so that a deployment in the middle of a run changes nothing for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tidemill.errors import TidemillError
from tidemill.ledger import Champion
from tidemill.model import Model

_NAME_LENGTH: Final = 63  # SageMaker's limit for every name
_LONGEST_SUFFIX: Final = len("-evaluate-3")  # a retried job's name ends with its retry
_RUN_ID_LENGTH: Final = len("20261120t201141-ab12")


class RunError(TidemillError):
    """A run cannot be opened or closed as asked."""


class RunInProgressError(RunError):
    """Another run holds the model's lock."""


def run_id(execution_arn: str, started_at: datetime) -> str:
    """Return the id of an execution's run, for instance `20261120t201141-ab12`.

    It sorts by time and follows from the execution alone, so that a retried function, and one
    that only hears of the execution's end, finds the same run.
    """
    mark = hashlib.blake2b(execution_arn.encode(), digest_size=2).hexdigest()
    return f"{started_at.astimezone(UTC):%Y%m%dt%H%M%S}-{mark}"


def moment(value: str | float) -> datetime:
    """Read a time as Step Functions tells it: ISO 8601, or milliseconds since the epoch."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).astimezone(UTC)
    return datetime.fromtimestamp(value / 1000, UTC)


def endpoint_name(prefix: str, model: str) -> str:
    """Return the name of a model's endpoint, which never changes.

    Raises RunError where SageMaker would refuse it.
    """
    name = f"{prefix}-{model.replace('_', '-')}"
    if len(name) > _NAME_LENGTH or name.endswith("-"):
        raise RunError(f"SageMaker takes no endpoint named {name!r}: shorten the model's name")
    return name


def _base_name(prefix: str, model: str) -> str:
    """Return what the names of a run's jobs begin with; long ones are cut and made unique."""
    name = f"{prefix}-{model.replace('_', '-')}"
    room = _NAME_LENGTH - _LONGEST_SUFFIX - _RUN_ID_LENGTH - 1
    if len(name) <= room:
        return name
    mark = hashlib.blake2b(name.encode(), digest_size=2).hexdigest()
    return f"{name[: room - 5].rstrip('-')}-{mark}"


@dataclass(frozen=True)
class Jobs:
    """The names of a run's SageMaker jobs."""

    prepare: str
    train: str
    evaluate: str


@dataclass(frozen=True)
class Plan:
    """What one run does. Each `…_uri` is an S3 prefix that ends in a slash.

    `release_name` names the SageMaker model and the endpoint configuration; `hyperparameters`
    are strings, as SageMaker wants them; `champion` is the version in service when the run
    opened; `serving` holds `mode`, `memory_mb` and `max_concurrency`.
    """

    model: str
    run_id: str
    actor: str
    endpoint_name: str
    release_name: str
    jobs: Jobs
    unload_sql: str
    spec_uri: str
    snapshot_uri: str
    train_uri: str
    holdout_uri: str
    profile_uri: str
    training_uri: str
    evaluation_uri: str
    hyperparameters: Mapping[str, str]
    serving: Mapping[str, Any]
    champion: Champion | None

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as a JSON document."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Plan:
        """Read what `to_dict` wrote."""
        champion = document["champion"]
        return cls(
            **{
                **document,
                "jobs": Jobs(**document["jobs"]),
                "champion": None if champion is None else Champion(**champion),
            }
        )


def snapshot_uri(bucket: str, model: str, run: str) -> str:
    """Return where a run's snapshot is kept; no other run writes there."""
    return f"s3://{bucket}/snapshots/{model}/{run}/"


def plan(
    model: Model,
    *,
    run: str,
    actor: str,
    prefix: str,
    bucket: str,
    unload_sql: str,
    champion: Champion | None,
) -> Plan:
    """Plan the run with the id `run`; `prefix` begins every SageMaker name."""
    base = f"{_base_name(prefix, model.name)}-{run}"
    root = f"s3://{bucket}/runs/{model.name}/{run}"
    return Plan(
        model=model.name,
        run_id=run,
        actor=actor,
        endpoint_name=endpoint_name(prefix, model.name),
        release_name=base,
        jobs=Jobs(f"{base}-prepare", f"{base}-train", f"{base}-evaluate"),
        unload_sql=unload_sql,
        spec_uri=f"{root}/spec/",
        snapshot_uri=snapshot_uri(bucket, model.name, run),
        train_uri=f"{root}/train/",
        holdout_uri=f"{root}/holdout/",
        profile_uri=f"{root}/profile/",
        training_uri=f"{root}/model/",
        evaluation_uri=f"{root}/evaluation/",
        hyperparameters={
            name: json.dumps(value) for name, value in model.trainer.hyperparameters.items()
        },
        serving=asdict(model.serving),
        champion=champion,
    )


@dataclass(frozen=True)
class Request:
    """What an execution was asked: its input, checked."""

    model: str
    reason: str
    actor: str

    @classmethod
    def read(cls, document: object) -> Request:
        """Read an execution's input.

        Raises RunError where it names no model, or holds what is not understood.
        """
        if not isinstance(document, Mapping):
            raise RunError('the execution\'s input must be an object such as {"model": "iris"}')
        unknown = sorted(set(document) - {"model", "reason", "actor"})
        values = {"reason": "manual", **document}
        values.setdefault("actor", values["reason"])
        for key in ("model", "reason", "actor"):
            if not isinstance(values.get(key), str) or not 0 < len(values[key]) <= 256:
                raise RunError(f"the execution's input needs a text of 1 to 256 signs at {key!r}")
        if unknown:
            raise RunError(f"the execution's input has unknown keys: {', '.join(unknown)}")
        return cls(values["model"], values["reason"], values["actor"])


@dataclass(frozen=True)
class Ending:
    """How an execution ended.

    `outcome` is the run's result where it came to one, else `error` says why not. `reported` is
    true when the state machine itself tells it, and has already brought the endpoint back;
    false when EventBridge does, and nobody has.
    """

    execution_arn: str
    started_at: datetime
    model: str
    outcome: Mapping[str, Any] | None
    error: str
    reported: bool

    @property
    def run_id(self) -> str:
        """The id of the run that ended."""
        return run_id(self.execution_arn, self.started_at)

    @classmethod
    def read(cls, event: Mapping[str, Any]) -> Ending:
        """Read the state machine's own report, or EventBridge's event of an execution's status.

        Raises RunError where the event tells neither.
        """
        try:
            return cls._of_status(event["detail"]) if "detail" in event else cls._of_report(event)
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"this is no end of a run: {type(error).__name__} {error}") from error

    @classmethod
    def _of_report(cls, event: Mapping[str, Any]) -> Ending:
        failure = event.get("failure")
        return cls(
            execution_arn=event["execution_arn"],
            started_at=moment(event["started_at"]),
            model=str(event["input"]["model"]),
            outcome=None if failure else event["outcome"],
            error=f"{failure['state']}: {failure['error']}: {_said(failure['cause'])}"
            if failure
            else "",
            reported=True,
        )

    @classmethod
    def _of_status(cls, detail: Mapping[str, Any]) -> Ending:
        said = ": ".join(str(detail[key]) for key in ("error", "cause") if detail.get(key))
        status = detail["status"]
        if status not in ("FAILED", "TIMED_OUT", "ABORTED"):
            raise ValueError(f"status {status}")
        return cls(
            execution_arn=detail["executionArn"],
            started_at=moment(detail["startDate"]),
            model=str(json.loads(detail["input"])["model"]),
            outcome=None,
            error=f"the execution ended as {status}" + (f": {said}" if said else ""),
            reported=False,
        )


def _said(cause: str) -> str:
    """Return what a failed job or function said; Step Functions wraps it in all it knows."""
    try:
        document = json.loads(cause)
    except ValueError:
        return cause
    if isinstance(document, dict):
        for key in ("ExitMessage", "FailureReason", "errorMessage"):
            if document.get(key):
                return str(document[key])
    return cause
