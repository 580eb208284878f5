"""cdk-nag and cfn-lint find nothing; every wildcard carries its reason; synth needs no network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_sqs as sqs

from stacks.constructs.grants import flatten
from stacks.deployment import add_checks

from .conftest import VARIANTS, Assembly, can_isolate

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


@pytest.mark.parametrize("settings", VARIANTS)
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
    """Every statement of a template: roles' policies, trust, and the policies of resources."""
    for name, resource in template["Resources"].items():
        for document in documents(resource.get("Properties", {})):
            for statement in document["Statement"]:
                yield name, resource, statement


def documents(value: Any) -> Iterator[dict[str, Any]]:
    """The policy documents in a resource's properties, wherever they are."""
    if isinstance(value, dict):
        if isinstance(value.get("Statement"), list):
            yield value
        for item in value.values():
            yield from documents(item)
    elif isinstance(value, list):
        for item in value:
            yield from documents(item)


def wildcards(statement: dict[str, Any]) -> Iterator[str]:
    """The wildcards of a statement, each as the security checks name it."""
    for kind in ("Action", "Resource"):
        for value in _listed(statement.get(kind, [])):
            if "*" in (name := flatten(value)):
                yield f"{kind}::{name}"


@pytest.mark.parametrize("settings", VARIANTS)
def test_every_wildcard_carries_its_reason(
    synth: Callable[..., Assembly], settings: dict[str, str]
) -> None:
    found = 0
    for template in synth(**settings).templates.values():
        for name, resource, statement in statements(template):
            assert not {"NotAction", "NotResource", "NotPrincipal"} & set(statement), name
            if statement["Effect"] != "Allow":
                continue
            rules = resource.get("Metadata", {}).get("cdk_nag", {}).get("rules_to_suppress", [])
            reasons = {rule["id"]: rule["reason"] for rule in rules}
            for wildcard in wildcards(statement):
                found += 1
                reason = reasons.get(f"AwsSolutions-IAM5[{wildcard}]", "")
                assert len(reason) > 20, f"{name}: {wildcard} has the reason {reason!r}"
    assert found > 40


def test_no_policy_allows_every_action(assembly: Assembly) -> None:
    for template in assembly.templates.values():
        for name, resource, statement in statements(template):
            # A key's owner, and what only narrows: neither grants a role anything.
            narrows = resource["Type"] in ("AWS::KMS::Key", "AWS::EC2::VPCEndpoint")
            if narrows or statement["Effect"] == "Deny":
                continue
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


def test_synth_needs_no_network(assembly: Assembly) -> None:
    if not can_isolate():
        pytest.skip("this machine lets nobody take the network away")
    assert assembly.files


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
