"""What keeps the idle local cloud small loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import botocore.session

from local.services.definitions import LOADER, service_model


def texts_under(value: Any, name: str) -> list[str]:
    if isinstance(value, dict):
        found = [item for key, item in value.items() if key == name and isinstance(item, str)]
        return found + [text for item in value.values() for text in texts_under(item, name)]
    if isinstance(value, list):
        return [text for item in value for text in texts_under(item, name)]
    return []


def test_definitions_have_no_documentation() -> None:
    assert not any(texts_under(LOADER.load_service_model("s3", "service-2"), "documentation"))
    # What a user may call a member is kept.
    shape = service_model("apigateway").operation_model("CreateStage").input_shape
    assert shape is not None
    assert "documentationVersion" in shape.members


def test_a_session_works_on_the_shared_definitions() -> None:
    core = botocore.session.Session()
    core.register_component("data_loader", LOADER)
    client = boto3.Session(botocore_session=core).client(
        "s3", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    assert client.can_paginate("list_objects_v2")
    assert client.get_waiter("bucket_exists")
    url = client.generate_presigned_url("get_object", Params={"Bucket": "bucket", "Key": "k"})
    assert url.startswith("https://bucket.s3.amazonaws.com/k?")


def test_every_version_of_an_object_stays(client: Any, tmp_path: Path) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="versions")
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    put = {body: s3.put_object(Bucket="versions", Key="k", Body=body) for body in (b"1", b"2")}
    large = tmp_path / "large"
    large.write_bytes(bytes(9 << 20))
    s3.upload_file(str(large), "versions", "k")  # in parts
    assert len(s3.get_object(Bucket="versions", Key="k")["Body"].read()) == 9 << 20
    for body, answer in put.items():
        found = s3.get_object(Bucket="versions", Key="k", VersionId=answer["VersionId"])
        assert found["Body"].read() == body
    last = s3.head_object(Bucket="versions", Key="k")["VersionId"]
    s3.delete_object(Bucket="versions", Key="k", VersionId=last)
    assert s3.get_object(Bucket="versions", Key="k")["Body"].read() == b"2"
