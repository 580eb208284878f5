"""What MiniStack's IAM leaves out: policy variables, a shard iterator's stream, streams of logs."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.services import kinesis

# ${key} and ${key, 'default'}; ${*}, ${?} and ${$} stand for the character itself.
_VARIABLE = re.compile(r"\$\{([A-Za-z0-9:/_-]+|[*?$])(?:\s*,\s*'([^']*)')?\}")


def install() -> None:
    """Mend what is asked of policies."""
    _mend_variables()
    _mend_iterators()
    _mend_logs()


def _mend_iterators() -> None:
    """GetRecords names its stream by the iterator: a grant on the stream's ARN is to count."""
    theirs = iam_actions.extract_resource_arn

    def extract(service: str, method: str, path: str, headers: Any, body: Any, *more: Any) -> str:
        found = theirs(service, method, path, headers, body, *more)
        if service == "kinesis" and found == "*":
            try:
                token = json.loads(body or b"{}").get("ShardIterator", "")
            except ValueError:
                return str(found)
            iterator = kinesis._shard_iterators.get(token)
            return str(iterator["stream_arn"]) if iterator else str(found)
        return str(found)

    iam_actions.extract_resource_arn = extract


def _mend_logs() -> None:
    """Logs are asked for by `log-group:<name>:log-stream:<stream>`, the stream empty where none is.

    Grants are thus written as `log-group:<name>:*`, which does not match the bare group.
    """
    theirs = iam_actions.extract_resource_arn
    context = iam_actions.logs_service_context

    def extract(service: str, method: str, path: str, headers: Any, body: Any, *more: Any) -> str:
        found = str(theirs(service, method, path, headers, body, *more))
        if service != "logs" or found == "*":
            return found
        asked = json.loads(body)
        if "logGroupName" not in asked:  # tags, which name the group by its ARN
            return found
        return f"{found}:log-stream:{asked.get('logStreamName') or ''}"

    def of_group(action: str, body: Any, resource: str, *more: Any) -> Any:
        return context(action, body, resource.partition(":log-stream:")[0], *more)

    iam_actions.extract_resource_arn = extract
    iam_actions.logs_service_context = of_group


def _mend_variables() -> None:
    """The values of policy variables are put in before a policy is evaluated."""
    theirs = iam_evaluator.evaluate

    def evaluate(ctx: Any, policies: Any, *limits: Any) -> Any:
        settled = [[_settled(item, ctx) for item in policy] for policy in policies]
        bounds = [[[_settled(i, ctx) for i in policy] for policy in limit] for limit in limits]
        return theirs(ctx, settled, *bounds)

    iam_evaluator.evaluate = evaluate


def _settled(statement: Any, ctx: Any) -> Any:
    names = ("resources", "not_resources", "conditions")
    if not any("${" in repr(getattr(statement, name)) for name in names):
        return statement
    return dataclasses.replace(
        statement, **{name: _put_in(getattr(statement, name), ctx) for name in names}
    )


def _put_in(value: Any, ctx: Any) -> Any:
    if isinstance(value, dict):
        return {key: _put_in(item, ctx) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_in(item, ctx) for item in value]
    if not isinstance(value, str):
        return value

    def found(match: re.Match[str]) -> str:
        name, default = match.groups()
        if name in ("*", "?", "$"):
            return str(name)
        known = iam_evaluator._resolve_condition_key(name, ctx)
        if isinstance(known, str):
            return known
        # What has no value stays as it is written and matches nothing.
        return match[0] if default is None else str(default)

    return _VARIABLE.sub(found, value)
