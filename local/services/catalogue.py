"""The services of ours, in the order in which they start."""

from __future__ import annotations

from local.services.base import Service
from local.services.codebuild import CodeBuild
from local.services.ecr import Ecr
from local.services.firehose import Firehose
from local.services.redshift_data import RedshiftData
from local.services.redshift_serverless import RedshiftServerless
from local.services.sagemaker import SageMaker, SageMakerRuntime

SERVICES: tuple[type[Service], ...] = (
    RedshiftServerless,
    RedshiftData,
    Ecr,
    CodeBuild,
    SageMaker,
    SageMakerRuntime,
    Firehose,
)
