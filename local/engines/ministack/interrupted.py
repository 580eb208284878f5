"""What a kill did to stacks that were being deployed, undone at the next start.

MiniStack deploys a stack in a task of its own, which nothing takes up again: the stack would stay
in progress for ever, and whoever deploys it next would wait for that. As AWS ends every operation,
an interrupted one ends here by its rollback. What an operation needs for that is kept with the
stack while it goes on, and saved before the first resource is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable
from typing import Any

from ministack.core import responses
from ministack.services import cloudformation
from ministack.services.cloudformation import changesets, handlers, provisioners, stacks

from local.services.base import Document

_log = logging.getLogger(__name__)
OURS = "tidemill"
"""Marks a provisioner of a type of ours."""
_OPERATION = "_tidemill_operation"
_NAMES = ("NamespaceName", "WorkgroupName", "DeliveryStreamName", "RepositoryName", "Name")


def install(save: Callable[[], None], checkpoint: Callable[[], None]) -> None:
    """Note each operation on a stack before it begins, and keep everything when it has ended.

    `save` keeps the stacks alone.
    """
    theirs = stacks._deploy_stack_async

    @functools.wraps(theirs)
    async def deploy(
        stack_name: str,
        stack_id: str,
        template: Document,
        param_values: Document,
        disable_rollback: bool,
        tags: list[Any],
        is_update: bool = False,
        previous_stack: Document | None = None,
        **options: Any,
    ) -> None:
        stack = cloudformation._stacks[stack_name]
        stack[_OPERATION] = {
            "is_update": is_update,
            "previous_stack": previous_stack,
            "template": template,
            "param_values": param_values,
        }
        await asyncio.to_thread(save)
        try:
            await theirs(
                stack_name,
                stack_id,
                template,
                param_values,
                disable_rollback,
                tags,
                is_update=is_update,
                previous_stack=previous_stack,
                **options,
            )
        finally:
            stack.pop(_OPERATION, None)
        # What is deployed is not lost again, by whichever services it was made.
        await asyncio.to_thread(checkpoint)

    for module in (stacks, changesets, handlers):
        module._deploy_stack_async = deploy


def end_operations() -> int:
    """Roll back what a kill interrupted, and go on with deletions; how many stacks these were."""
    count = 0
    for (account, region, name), stack in list(cloudformation._stacks._data.items()):
        status = stack.get("StackStatus", "")
        if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
            continue
        _log.warning("the stack %s was %s when the cloud ended", name, status)
        with responses.request_scope(account, region):
            try:
                asyncio.run(_end(name, stack, status))
            except Exception:
                _log.exception("rolling back the stack %s", name)
                failed = "UPDATE_ROLLBACK_FAILED" if "UPDATE" in status else "ROLLBACK_FAILED"
                stack["StackStatus"] = failed
        count += 1
    return count


async def _end(name: str, stack: Document, status: str) -> None:
    operation = stack.pop(_OPERATION, None) or {}
    if status == "DELETE_IN_PROGRESS":
        await stacks._delete_stack_async(name, stack["StackId"])
        return
    previous = operation.get("previous_stack") or {}
    before = previous.get("_resources", {})
    made = stack.setdefault("_resources", {})
    changed = [name for name, resource in made.items() if before.get(name) != resource]
    _forget_unrecorded(operation, made)
    await stacks._roll_back_operation(
        name,
        stack["StackId"],
        stack,
        {
            **operation,
            "is_update": bool(previous),
            "retain_except_on_create": True,  # a name that stays would be in the way
            "created": changed,
            "previous_tags": previous.get("Tags") or [],
            "stack_tags": stack.get("Tags") or [],
        },
        "The local cloud was killed during the operation.",
    )


def _forget_unrecorded(operation: Document, made: Document) -> None:
    """Delete what was made with a name of its own, but not written down in the stack any more.

    Our services keep what they made at once, the stack's record comes with the next checkpoint;
    another resource of the name could not be made. Resources without a name get new ones.
    """
    before = (operation.get("previous_stack") or {}).get("_resources", {})
    for logical_id, resource in operation.get("template", {}).get("Resources", {}).items():
        handler = provisioners._RESOURCE_HANDLERS.get(resource.get("Type"), {})
        if not handler.get(OURS) or logical_id in made or logical_id in before:
            continue
        properties = resource.get("Properties", {})
        # The first is the type's own name: a workgroup has its namespace's, too.
        own = "WorkgroupName" if resource["Type"].endswith("::Workgroup") else ""
        name = next((properties[key] for key in (own, *_NAMES) if key in properties), None)
        if isinstance(name, str):
            with contextlib.suppress(Exception):  # most often it was not made
                provisioners._delete_resource(resource["Type"], name, properties, "", logical_id)
