"""cdk-nag and cfn-lint find nothing; every wildcard carries its reason; synth needs no network."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_sqs as sqs

from stacks.deployment import add_checks

from .conftest import Assembly, run_app

VARIANTS: list[dict[str, str]] = [
    {},
    {"stage": "prod", "api_auth": "key", "alarm_email": "owner@example.com"},
]
# The CDK repeats in DependsOn what a reference enforces already.
IGNORED = ["W3005"]


def lint(*templates: Path) -> str:
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("cfn-lint")),
            *("--regions", "us-east-1", "--ignore-checks", *IGNORED, "--"),
            *map(str, templates),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("settings", VARIANTS, ids=["defaults", "prod"])
def test_cdk_nag_and_cfn_lint_find_nothing(
    synth: Callable[..., Assembly], settings: dict[str, str]
) -> None:
    # A finding of cdk-nag fails the synth, as the next test shows.
    assembly = synth(**settings)
    assert lint(*assembly.files) == ""


def test_a_finding_fails_the_synth(tmp_path: Path) -> None:
    app = App(outdir=str(tmp_path))
    sqs.Queue(Stack(app, "careless"), "Queue")
    add_checks(app)
    with pytest.raises(RuntimeError, match=r"AwsSolutions-SQS4"):
        app.synth()


def test_cfn_lint_sees_the_state_machine(assembly: Assembly, tmp_path: Path) -> None:
    source = next(path for path in assembly.files if "refresh" in path.name)
    broken = tmp_path / "broken.template.json"
    broken.write_text(source.read_text().replace(r"\"Type\": \"Succeed\"", r"\"Type\": \"Suceed\""))
    assert broken.read_text() != source.read_text()
    assert "E3601" in lint(broken)


def statements(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        documents = [
            properties.get("PolicyDocument"),
            *(policy["PolicyDocument"] for policy in properties.get("Policies", [])),
        ]
        if resource["Type"] in ("AWS::IAM::Policy", "AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
            for document in filter(None, documents):
                for statement in document["Statement"]:
                    yield name, resource, statement


@pytest.mark.parametrize("settings", VARIANTS, ids=["defaults", "prod"])
def test_every_wildcard_carries_its_reason(
    synth: Callable[..., Assembly], settings: dict[str, str]
) -> None:
    found = 0
    for template in synth(**settings).templates.values():
        for name, resource, statement in statements(template):
            listed = [
                *_listed(statement.get("Action", [])),
                *_listed(statement.get("Resource", [])),
            ]
            if statement["Effect"] != "Allow" or not any("*" in json.dumps(x) for x in listed):
                continue
            found += 1
            rules = resource.get("Metadata", {}).get("cdk_nag", {}).get("rules_to_suppress", [])
            reasons = [rule["reason"] for rule in rules if "IAM5" in rule["id"]]
            assert reasons, f"{name}: {statement}"
            assert all(len(reason) > 20 for reason in reasons)
    assert found > 10


def test_no_policy_allows_every_action(assembly: Assembly) -> None:
    for template in assembly.templates.values():
        for name, _, statement in statements(template):
            assert not any("*" in action for action in _listed(statement["Action"])), name


def test_roles_are_passed_to_named_services_only(assembly: Assembly) -> None:
    passing = [
        statement
        for template in assembly.templates.values()
        for _, _, statement in statements(template)
        if any(action == "iam:PassRole" for action in _listed(statement["Action"]))
    ]
    assert passing
    for statement in passing:
        assert statement["Condition"] == {
            "StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}
        }
        assert "*" not in json.dumps(statement["Resource"])


def test_synth_needs_no_network(tmp_path: Path) -> None:
    isolation = ("unshare", "--map-root-user", "--net")
    if (
        not shutil.which("unshare")
        or subprocess.run([*isolation, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this machine lets nobody take the network away")
    done = run_app(tmp_path, wrapper=isolation)
    assert done.returncode == 0, done.stderr


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
