"""`status`: is the cloud up, is data arriving, what serves, what ran last."""

from __future__ import annotations

import json
from typing import Any

from scripts.commands.console import Console
from scripts.commands.target import LOCAL, STACKS, Target
from scripts.commands.warehouse import Warehouse


def status(target: Target, console: Console) -> None:
    """Print one screen about the target."""
    from tidemill.model import load_models

    stacks = _stacks(target)
    deployed = all(state.endswith("_COMPLETE") for state in stacks.values())
    document: dict[str, Any] = {"target": target.name, "stage": target.stage, "stacks": stacks}
    lines = [f"{target.name}, stage {target.stage}"]
    if target.name == LOCAL:
        document["endpoint"] = target.environment["AWS_ENDPOINT_URL"]
        lines.append(f"local cloud at {document['endpoint']}, state in {target.directory}")
    lines += [f"  {name:<12} {state}" for name, state in stacks.items()]
    if deployed:
        warehouse = Warehouse(target)
        runs = _last_runs(target)
        document["models"] = {
            name: {
                "rows": warehouse.count(name),
                "champion": _champion(target, name),
                "last_run": runs.get(name),
            }
            for name in load_models(target.models_directory)
        }
        for name, model in document["models"].items():
            champion = model["champion"]
            serves = f"version {champion} serves" if champion else "no version serves yet"
            run = model["last_run"]
            last = f"last run {run['status'].lower()} {run['started']}" if run else "no run yet"
            lines.append(f"{name:<16} {model['rows']:>9,} rows  {serves}  {last}")
    else:
        lines.append(f"not all is deployed: {target.command('up')}")
    console.result(document, lines)


def _stacks(target: Target) -> dict[str, str]:
    from botocore.exceptions import ClientError

    found = {}
    for stack in STACKS:
        name = target.stack_name(stack)
        try:
            described = target.client("cloudformation").describe_stacks(StackName=name)
            found[stack] = described["Stacks"][0]["StackStatus"]
        except ClientError:
            found[stack] = "not deployed"
    return found


def _champion(target: Target, model: str) -> int | None:
    key = {"pk": {"S": f"MODEL#{model}"}, "sk": {"S": "CHAMPION"}}
    answer = target.client("dynamodb").get_item(TableName=target.outputs["LedgerTable"], Key=key)
    item = answer.get("Item")
    return int(item["version"]["N"]) if item else None


def _last_runs(target: Target) -> dict[str, dict[str, str]]:
    """The newest execution of each model among the newest hundred."""
    states = target.client("stepfunctions")
    listed = states.list_executions(
        stateMachineArn=target.outputs["StateMachineArn"], maxResults=100
    )["executions"]
    newest: dict[str, dict[str, str]] = {}
    for execution in listed:
        described = states.describe_execution(executionArn=execution["executionArn"])
        model = json.loads(described["input"]).get("model")
        if model not in newest:
            started = described["startDate"].strftime("%Y-%m-%d %H:%M:%S")
            newest[model] = {"status": described["status"], "started": started}
    return newest
