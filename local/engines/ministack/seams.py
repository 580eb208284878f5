"""The private parts of MiniStack that this engine stands on, and the version they were found in.

`local/engines/ministack` reads and replaces module attributes that MiniStack promises to nobody.
A new version is taken by changing `VERSION`, running the contract test, and mending what it names.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
from pathlib import Path

VERSION = "1.5.33"

# What is replaced must be called as before: the parameters of each, in order.
SIGNATURES = {
    "ministack.app:call_service_handler_sync": (
        "handler method path headers body query_params timeout"
    ),
    "ministack.core.iam_evaluator:evaluate": "ctx policies limits",
    "ministack.core.iam_evaluator:_resolve_condition_key": "key ctx",
    "ministack.core.lambda_runtime:execution_credentials": "config",
    "ministack.core.lambda_runtime:Worker._drain_stderr_bounded": (
        "self first_line_wait idle_confirm hard_cap"
    ),
    "ministack.services.apigateway_v1:_call_lambda_raw": "function_ref event account_id region",
    "ministack.services.cloudformation.custom_resource:invoke_custom_resource": (
        "request_type logical_id props stack_name stack_id resource_type physical_id old_props"
    ),
    "ministack.services.cloudformation.stacks:_runs_on_worker_thread": "resource_type",
    "ministack.services.dynamodb:_put_item": "data",
    "ministack.services.dynamodb:_update_item": "data",
    "ministack.services.dynamodb:_delete_item": "data",
    "ministack.services.dynamodb:_batch_write_item": "data",
    "ministack.services.dynamodb:_transact_write_items": "data",
    "ministack.services.dynamodb:_create_table": "data",
    "ministack.services.dynamodb:_update_table": "data",
    "ministack.services.dynamodb:_delete_table": "data",
    "ministack.services.eventbridge:_invoke_target": "target event rule view",
    "ministack.services.lambda_svc:_iter_all_esms": "",
    "ministack.services.lambda_svc:_poll_loop": "",
    "ministack.services.s3:_deliver_event_to_lambda": "arn event_payload bucket_region",
    "ministack.services.s3:_get_object": "bucket_name key headers query_params",
    "ministack.services.s3:_persist_object": "bucket key obj",
    "ministack.services.stepfunctions:_call_lambda": "func_ref event",
    "ministack.services.stepfunctions:_execute_task": "state_def raw_input execution ctx",
    "ministack.services.stepfunctions:_fail_execution": "execution error cause",
    "ministack.services.stepfunctions:_find_matching_retrier": "retriers error retry_counts",
    "ministack.services.stepfunctions:_invoke_resource": "resource input_data",
    "ministack.services.stepfunctions:_invoke_resource_with_timeout": "resource input_data timeout",
    "ministack.services.stepfunctions:_invoke_with_callback": (
        "resource input_data token state_def"
    ),
    "ministack.services.stepfunctions:_run_execution": "exec_arn",
    "ministack.services.stepfunctions:_scaled_sleep": "seconds",
}


def check_version() -> None:
    """Raise RuntimeError for another version than the one that this engine was made for."""
    found = importlib.metadata.version("ministack")
    if found != VERSION:
        raise RuntimeError(
            f"ministack {found} is installed, but this engine stands on private parts of {VERSION}:"
            f" install ministack=={VERSION}"
        )


def moved() -> list[str]:
    """What of MiniStack this package uses that is not there, or is called otherwise."""
    missing = [
        f"{module}.{name} ({path.name}:{line})"
        for path in sorted(Path(__file__).parent.glob("*.py"))
        for module, name, line in _uses(ast.parse(path.read_text()))
        if not hasattr(importlib.import_module(module), name)
    ]
    return missing + _changed_signatures()


def _changed_signatures() -> list[str]:
    changed = []
    for place, expected in SIGNATURES.items():
        module, _, path = place.partition(":")
        found: object = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name, None)
        parameters = " ".join(inspect.signature(found).parameters) if callable(found) else "nothing"
        if parameters != expected:
            changed.append(f"{place} takes ({parameters}), not ({expected})")
    return changed


def _uses(tree: ast.AST) -> list[tuple[str, str, int]]:
    modules = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ministack")
        for alias in node.names
    }
    return [
        (modules[node.value.id], node.attr, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
    ]
