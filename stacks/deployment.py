"""The stacks of one deployment, put together."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import App, FileSystem, Tags, Validations
from cdk_nag import AwsSolutionsChecks

from stacks.inference import InferenceStack
from stacks.ingestion import IngestionStack
from stacks.refresh import RefreshStack
from stacks.settings import Settings
from stacks.warehouse import WarehouseStack
from tidemill.model import load_models


def add_stacks(app: App, settings: Settings, *, functions: Path, image: Path) -> None:
    """Add the stacks to `app`, with the security checks that each synth makes.

    `functions` is the folder with the functions' code, `image` the image's build context. Raises
    TidemillError for a wrong model file.
    """
    models = load_models(settings.models_dir)
    prefix = settings.prefix
    ingestion = IngestionStack(app, f"{prefix}-ingestion", settings=settings, code=functions)
    warehouse = WarehouseStack(
        app,
        f"{prefix}-warehouse",
        settings=settings,
        ingestion=ingestion,
        schema_version="-".join(
            FileSystem.fingerprint(str(functions / room))[:16] for room in ("models", "sql")
        ),
    )
    refresh = RefreshStack(
        app,
        f"{prefix}-refresh",
        settings=settings,
        models=models,
        image_context=image,
        ingestion=ingestion,
        warehouse=warehouse,
    )
    InferenceStack(
        app,
        f"{prefix}-inference",
        settings=settings,
        models=models,
        ingestion=ingestion,
        refresh=refresh,
    )
    Tags.of(app).add("tidemill:stage", settings.stage)
    add_checks(app)


def add_checks(app: App) -> None:
    """Let each synth fail for a finding of the AWS Solutions rules that is not acknowledged.

    What is acknowledged is written into the templates, with its reason, beside what it is about.
    """
    Validations.of(app).add_plugins(
        AwsSolutionsChecks(app, verbose=True, write_suppressions_to_cloud_formation=True)
    )
