"""COPY manifests, kept in the lake bucket."""

from __future__ import annotations

from dataclasses import dataclass

from lambdas.adapters.clients import client


@dataclass(frozen=True)
class Manifests:
    """The manifests of a lake bucket, under `manifests/<model>/<digest>.json`."""

    bucket: str

    def put(self, model: str, digest: str, content: bytes) -> str:
        """Keep a manifest and return its S3 URI; the same one is written again unharmed."""
        key = f"manifests/{model}/{digest}.json"
        client("s3").put_object(
            Bucket=self.bucket, Key=key, Body=content, ContentType="application/json"
        )
        return f"s3://{self.bucket}/{key}"
