"""Grants to roles: least privilege, and each wildcard with its reason beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import IConstruct


def permit(
    grantee: iam.Role | iam.Policy,
    actions: Sequence[str],
    resources: Sequence[str],
    *,
    conditions: Mapping[str, Mapping[str, object]] | None = None,
    why: str | None = None,
) -> None:
    """Allow a role, or the roles of a policy, `actions` on `resources`.

    `why` is the reason for the wildcards among them; it is kept in the template, at the policy.
    Raises ValueError for a wildcard without a reason, and for a reason without a wildcard.
    """
    statement = iam.PolicyStatement(
        actions=list(actions), resources=list(resources), conditions=conditions
    )
    wildcards = [f"Action::{action}" for action in actions if "*" in action]
    for resource in resources:
        name = flatten(Stack.of(grantee).resolve(resource))
        if "*" in name:
            wildcards.append(f"Resource::{name}")
    if bool(wildcards) != bool(why):
        raise ValueError(f"{grantee.node.path}: {wildcards or actions} with the reason {why!r}")
    if isinstance(grantee, iam.Policy):
        grantee.add_statements(statement)
    else:
        grantee.add_to_policy(statement)
    for wildcard in wildcards:
        acknowledge(grantee, f"AwsSolutions-IAM5[{wildcard}]", why or "")


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Record why a rule of the security checks does not hold at `construct`."""
    Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=reason))


def flatten(value: Any) -> str:
    """Return an ARN with its references in the form that the security checks name it by."""
    match value:
        case str():
            return value.replace("${", "<").replace("}", ">")
        case {"Fn::Join": [delimiter, parts]}:
            return str(delimiter).join(flatten(part) for part in parts)
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{resource}.{attribute}>"
        case {"Fn::ImportValue": name} | {"Fn::Sub": str(name)}:
            return flatten(name)
        case {"Ref": name}:
            return f"<{name}>"
        case _:
            raise ValueError(f"Cannot name {value!r} in a policy")
