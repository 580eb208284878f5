"""The settings of a deployment: typed, bounded, each documented in docs/settings.md.

A setting comes from the CDK context (`-c tidemill:stage=prod`) or, failing that, from the
environment (`TIDEMILL_STAGE=prod`), or else has the default given here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from aws_cdk import aws_logs as logs
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

CONTEXT_PREFIX = "tidemill:"
# What CloudWatch Logs accepts, in days.
RETENTION = {
    1: logs.RetentionDays.ONE_DAY,
    3: logs.RetentionDays.THREE_DAYS,
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    90: logs.RetentionDays.THREE_MONTHS,
    180: logs.RetentionDays.SIX_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
    731: logs.RetentionDays.TWO_YEARS,
    1827: logs.RetentionDays.FIVE_YEARS,
}

InstanceType = Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")]


class SettingsError(Exception):
    """A setting is unknown or has a value it may not have; the message names each one."""


class Settings(BaseSettings):
    """What a deployment may be told."""

    model_config = SettingsConfigDict(env_prefix="TIDEMILL_", frozen=True, extra="forbid")

    stage: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,11}$")] = "dev"
    """Part of every stack's name: one account can hold several."""
    models_dir: Path = Path("models")
    """The folder of the model files."""
    keep_data: bool | None = None
    """Whether deleting a stack leaves its buckets, tables, keys and warehouse; by default only
    where the stage is `prod`."""
    log_retention_days: int = 30
    """How long CloudWatch keeps each log group, in days."""
    alarm_email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")] | None = None
    """Who is mailed by alarms and runs."""
    stream_shards: Annotated[int, Field(ge=1, le=200)] = 1
    """Shards of the stream: 1 MB or 1,000 records a second each."""
    loader_batching_window_seconds: Annotated[int, Field(ge=0, le=300)] = 300
    """How long the loader gathers new files before it wakes the warehouse."""
    warehouse_capacity: Annotated[int, Field(ge=4, le=1024)] = 8
    """Base capacity of the warehouse in Redshift processing units: 4, or a multiple of 8."""
    processing_instance_type: InstanceType = "ml.m5.large"
    """What the prepare and evaluate jobs run on."""
    training_instance_type: InstanceType = "ml.m5.large"
    """What the training job runs on."""
    api_auth: Literal["iam", "key"] = "iam"
    """Who may predict: signed requests of IAM identities, or holders of an API key."""
    api_rate_limit: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Requests a second that the API takes before it answers 429."""
    api_burst_limit: Annotated[int, Field(ge=1, le=5_000)] = 100
    """Requests that the API takes at once."""

    @field_validator("log_retention_days")
    @classmethod
    def _retention(cls, days: int) -> int:
        if days not in RETENTION:
            raise ValueError(f"must be one of {', '.join(map(str, RETENTION))}")
        return days

    @field_validator("warehouse_capacity")
    @classmethod
    def _capacity(cls, units: int) -> int:
        if units != 4 and units % 8:
            raise ValueError("must be 4 or a multiple of 8")
        return units

    @field_validator("models_dir")
    @classmethod
    def _folder(cls, folder: Path) -> Path:
        if not any(folder.glob("*.toml")):
            raise ValueError("must be a folder with at least one model file (*.toml)")
        return folder.resolve()

    @model_validator(mode="after")
    def _burst_covers_rate(self) -> Settings:
        if self.api_burst_limit < self.api_rate_limit:
            raise ValueError("api_burst_limit must be at least api_rate_limit")
        return self

    @property
    def prefix(self) -> str:
        """What the names of stacks, jobs and endpoints begin with."""
        return f"tidemill-{self.stage}"

    @property
    def keeps_data(self) -> bool:
        """Whether deleting a stack leaves its data."""
        return self.stage == "prod" if self.keep_data is None else self.keep_data

    @property
    def retention(self) -> logs.RetentionDays:
        """`log_retention_days` in the CDK's terms."""
        return RETENTION[self.log_retention_days]


def load_settings(context: Mapping[str, object]) -> Settings:
    """Return the settings from the CDK context and the environment.

    Raises SettingsError.
    """
    given = {
        key.removeprefix(CONTEXT_PREFIX): value
        for key, value in context.items()
        if key.startswith(CONTEXT_PREFIX)
    }
    try:
        return Settings(**given)  # type: ignore[arg-type] # pydantic checks them
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        rule = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            rule = f"is no setting; the settings are {', '.join(sorted(Settings.model_fields))}"
        # A rule across settings has no place of its own and names them itself.
        lines.append(f"{key} = {problem['input']!r}: {rule}" if key else rule)
    return "Wrong settings:\n  " + "\n  ".join(lines)
