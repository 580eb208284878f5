"""The log groups that `tidemill logs NAME` reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.stub import Stubber

from scripts.commands.console import CommandError, Console
from scripts.commands.logs import logs
from scripts.commands.target import AWS, Target


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Target:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    return Target(AWS, "dev", tmp_path, tmp_path)


GROUP = "tidemill-dev-warehouse-loadwarehouseLogs1A2B-xYz"


def test_a_function_is_found_by_its_verb_noun(
    target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = {"logGroups": [{"logGroupName": GROUP}, {"logGroupName": "another"}]}
    event = {"eventId": "1", "timestamp": 0, "message": "loaded\n", "logStreamName": "s"}
    with Stubber(target.client("logs")) as stub:
        stub.add_response("describe_log_groups", groups)
        stub.add_response("filter_log_events", {"events": [event]})
        logs(target, Console(), "load_warehouse", 15, follow=False)
        stub.assert_no_pending_responses()
    assert capsys.readouterr().out == "00:00:00 loaded\n"


def test_a_name_that_no_group_has_is_answered_with_those_there_are(target: Target) -> None:
    with Stubber(target.client("logs")) as stub:
        stub.add_response("describe_log_groups", {"logGroups": [{"logGroupName": GROUP}]})
        with pytest.raises(CommandError, match="'lod_warehouse'") as refused:
            logs(target, Console(), "lod_warehouse", 15, follow=False)
    assert GROUP in refused.value.hint
