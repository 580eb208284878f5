"""What is mended of MiniStack's S3."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError


def test_a_range_of_a_version_is_that_range_and_no_more(client: Any) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="ranges")
    s3.put_bucket_versioning(Bucket="ranges", VersioningConfiguration={"Status": "Enabled"})
    versions = [
        s3.put_object(Bucket="ranges", Key="k", Body=body)["VersionId"]
        for body in (b"0123456789", b"abcdefghij")
    ]
    for version, expected in zip(versions, (b"234", b"cde"), strict=True):
        named = {"Bucket": "ranges", "Key": "k", "VersionId": version}
        answer = s3.get_object(**named, Range="bytes=2-4")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert answer["ContentRange"] == "bytes 2-4/10"
        assert answer["VersionId"] == version
        assert answer["Body"].read() == expected
        with pytest.raises(ClientError, match="InvalidRange"):
            s3.get_object(**named, Range="bytes=20-30")
