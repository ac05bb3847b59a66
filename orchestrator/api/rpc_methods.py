"""What each method of POST /rpc does: a thin translation onto the use cases."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import ValidationError

from app_sdk.protocol.json_path import json_path
from orchestrator.api.answers import instant
from orchestrator.api.context import ApiContext
from orchestrator.api.errors import InvalidParams, ResultRefused
from orchestrator.api.fitting import fitted
from orchestrator.api.shapes import pull as shapes
from orchestrator.domain.errors import Invalid
from orchestrator.service import launching, orders, pull_queries, pull_reports, pull_tasks
from orchestrator.service.orders import LaunchRequest
from orchestrator.service.pull_claims import Wanted
from orchestrator.service.pull_reports import Failure, NamedClaim, Settled
from orchestrator.service.pull_tasks import PullTask
from orchestrator.service.tokens import Caller
from orchestrator.store.clock import to_micros
from orchestrator.store.transaction import Transaction

P = TypeVar("P", bound=shapes.Params)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a method. `waits` is False within a batch; `hang_up` ends when the client has gone."""

    context: ApiContext
    caller: Caller
    params: Mapping[str, Any]
    waits: bool
    hang_up: Callable[[], Awaitable[None]]

    def read(self, model: type[P]) -> P:
        """The parameters. Raises InvalidParams."""
        try:
            return model.model_validate(dict(self.params))
        except ValidationError as error:
            problems = [
                {
                    "field": f"$.params{json_path(one['loc'])[1:]}",
                    "message": str(one["msg"]).removeprefix("Value error, "),
                }
                for one in error.errors(include_url=False, include_input=False)
            ]
            told = "; ".join(f"{one['field']}: {one['message']}" for one in problems)
            raise InvalidParams(f"Invalid params: {told}", errors=problems) from None

    def claim(self, asked: shapes.Claimed) -> NamedClaim:
        return NamedClaim(self.caller.scope, asked.id, asked.exec_id)


Method = Callable[[Call], Awaitable[dict[str, Any]]]


async def poll(call: Call) -> dict[str, Any]:
    return await _polled(call, call.read(shapes.Poll), timedelta())


async def long_poll(call: Call) -> dict[str, Any]:
    asked = call.read(shapes.Poll)
    wait_ms = min(asked.timeout_ms, shapes.LONGEST_WAIT_MS) if call.waits else 0
    return await _polled(call, asked, timedelta(milliseconds=wait_ms))


async def start(call: Call) -> dict[str, Any]:
    claim = call.claim(call.read(shapes.Claimed))
    started = await call.context.database.write(pull_reports.start, call.context.definitions, claim)
    return {"resource": shapes.resource(started)}


async def notify(call: Call) -> dict[str, Any]:
    asked = call.read(shapes.Notify)
    if asked.lacks_progress:
        raise Invalid("a whole number, since the notification is progress", field="$.params.progress-current")
    context = call.context
    until = await context.database.write(pull_reports.notify, context.definitions, call.claim(asked), asked.sign)
    return {"inProgressTimeoutAt": instant(to_micros(until))}


async def success(call: Call) -> dict[str, Any]:
    asked, context = call.read(shapes.Succeed), call.context
    definition = await context.database.read(
        pull_reports.definition_of, context.definitions, call.caller.scope, asked.id
    )
    said = await asyncio.to_thread(pull_reports.checked, definition, asked.result, context.limits)
    return await _settled(call, asked, said)


async def fail(call: Call) -> dict[str, Any]:
    asked = call.read(shapes.Fail)
    return await _settled(call, asked, pull_reports.failed(asked.said))


async def create_and_execute(call: Call) -> dict[str, Any]:
    asked, context, caller = call.read(shapes.Create), call.context, call.caller
    request = LaunchRequest(
        task=asked.definition, input=asked.params, id=asked.id, run_at=asked.execute_at, name=asked.label
    )
    checked = await fitted(context, caller, orders.check(request, context.limits))

    def create(tx: Transaction) -> PullTask:
        order = orders.order(tx, caller, checked)
        launched = launching.launch(tx, context.definitions, order, context.new_id)
        return pull_tasks.show(tx, context.definitions, pull_tasks.find(tx, caller.scope, launched.id))

    created = await context.database.write(create)
    context.wake()
    return {"resource": {**shapes.resource(created), "definition": asked.definition}}


async def cancel(call: Call) -> dict[str, Any]:
    asked, context = call.read(shapes.Named), call.context
    task = await context.database.write(pull_queries.cancel, context.definitions, call.caller, asked.id)
    context.wake()
    return {"resource": shapes.resource(task)}


async def status(call: Call) -> dict[str, Any]:
    asked, context, scope = call.read(shapes.Status), call.context, call.caller.scope

    def look(tx: Transaction) -> dict[str, Any]:
        task = pull_tasks.show(tx, context.definitions, pull_tasks.find(tx, scope, asked.id))
        shown: dict[str, Any] = {"resource": shapes.resource(task)}
        if asked.include_settings:
            shown["settings"] = shapes.settings(task)
        if asked.include_log:
            shown["log"] = shapes.log(task, pull_queries.logged(tx, task))
        return shown

    return await context.database.read(look)


async def list_tasks(call: Call) -> dict[str, Any]:
    asked, context = call.read(shapes.List), call.context
    found = await context.database.read(
        pull_queries.listed, context.definitions, call.caller.scope, asked.query, asked.order
    )
    return {"resources": [shapes.resource(task) for task in found]}


METHODS: Mapping[str, Method] = {
    "awf.task/poll": poll,
    "awf.task/long-poll": long_poll,
    "awf.task/start": start,
    "awf.task/notify": notify,
    "awf.task/success": success,
    "awf.task/fail": fail,
    "awf.task/create-and-execute": create_and_execute,
    "awf.task/cancel": cancel,
    "awf.task/status": status,
    "awf.task/list": list_tasks,
}


async def _polled(call: Call, asked: shapes.Poll, patience: timedelta) -> dict[str, Any]:
    if asked.task_definitions is None and asked.workflow_definitions is None:
        raise InvalidParams(
            "Invalid params: name the tasks to poll for",
            errors=[{"field": "$.params.taskDefinitions", "message": "needed, or workflowDefinitions"}],
        )
    wanted = Wanted(
        scope=call.caller.scope,
        definitions=tuple(asked.task_definitions or ()),
        places=asked.places,
        executor=asked.executor or call.caller.token_id,
        token_id=call.caller.token_id,
    )
    tasks = await _unless_gone(call, wanted, patience)
    return {"resources": [shapes.resource(task) for task in tasks]}


async def _unless_gone(call: Call, wanted: Wanted, patience: timedelta) -> tuple[PullTask, ...]:
    """Wait for work while the client does."""
    polling = asyncio.ensure_future(call.context.poll(wanted, patience))
    hanging_up = asyncio.ensure_future(call.hang_up())
    try:
        await asyncio.wait({polling, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        if not polling.done():
            return ()
        if hanging_up.done():
            call.context.give_back(polling.result())
            return ()
        return tuple(polling.result())
    finally:
        # Whoever polls and is cancelled gives back what it was given meanwhile.
        for waiting in (polling, hanging_up):
            waiting.cancel()
        await asyncio.wait({polling, hanging_up})


async def _settled(call: Call, asked: shapes.Claimed, said: pull_reports.Success | Failure) -> dict[str, Any]:
    context = call.context
    jitter = random.uniform(-1, 1)  # noqa: S311
    settled: Settled = await context.database.write(
        pull_reports.settle, context.definitions, call.claim(asked), said, context.limits, jitter
    )
    if not settled.is_repeat:
        context.wake()
    if settled.refused is not None:
        raise ResultRefused(settled.refused)
    return {"resource": shapes.resource(settled.task)}
