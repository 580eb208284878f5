"""What MiniStack's S3 keeps in memory although it is on disk."""

from __future__ import annotations

from typing import Any

from ministack.services import s3


def install() -> None:
    """Let go of the bodies of versions once they are written: they are read from there as well."""
    theirs = s3._persist_object

    def persist(bucket: str, key: str, record: Any) -> None:
        theirs(bucket, key, record)
        if not isinstance(record, dict) or record.get("body") is not None:
            return  # it could not be written
        for version in s3._object_versions.get((bucket, key)) or ():
            if version["version_id"] == record.get("version_id"):
                version["data"] = None

    s3._persist_object = persist
