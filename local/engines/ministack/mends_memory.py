"""What MiniStack keeps in memory although it is kept elsewhere."""

from __future__ import annotations

from typing import Any

import botocore.session
from ministack.services import s3

from local.services.definitions import LOADER


def install() -> None:
    """Let go of what is on disk, and share what is read once."""
    _mend_versions()
    _share_definitions()


def _mend_versions() -> None:
    """The bodies of versions go once they are written: they are read from there as well."""
    theirs = s3._persist_object

    def persist(bucket: str, key: str, record: Any) -> None:
        theirs(bucket, key, record)
        if not isinstance(record, dict) or record.get("body") is not None:
            return  # it could not be written
        for version in s3._object_versions.get((bucket, key)) or ():
            if version["version_id"] == record.get("version_id"):
                version["data"] = None

    s3._persist_object = persist


def _share_definitions() -> None:
    """MiniStack makes a botocore session for each service whose shapes it looks up."""
    theirs = botocore.session.get_session

    def get_session(env_vars: Any = None) -> botocore.session.Session:
        session = theirs(env_vars)
        session.register_component("data_loader", LOADER)
        return session

    botocore.session.get_session = get_session
