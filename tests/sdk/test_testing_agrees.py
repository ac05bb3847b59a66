"""A run in virtual time and a real server on a real database: the same app and faults, the same end."""

import json
from collections.abc import Mapping
from typing import Any

from app_sdk import App, Context, Continue, Done, Fail, Retry
from app_sdk.protocol.manifest import read_manifest
from app_sdk.task_options import RetryOptions
from app_sdk.testing import Response, run_task_async
from orchestrator.service import apps
from tests.support.fake_app import Received, Reply
from tests.support.world import SECRET, WORKSPACE, World, running_world

Faults = Mapping[tuple[int, int], Response]
"""By step and retry_count, what takes the place of the app's answer."""

AT_ONCE = RetryOptions(max_retries=2, initial_delay_secs=0.0)

app = App("app_agree", "Agree", secret=SECRET)


@app.task("join")
def join(ctx: Context) -> Done | Continue:
    """Helpers import their slices; the main worker counts what they tell."""
    if ctx.worker_id:
        ctx.items.extend({"kind": "row", "worker": ctx.worker_id, "n": n} for n in range(260))
        ctx.app_state.increment("rows", 260)
        ctx.state["page"] += 1
        return Done("slice", {f"{ctx.worker_id}": True}) if ctx.state["page"] == 3 else Continue("page")
    if ctx.worker_results is None:
        for helper in (1, 2, 3):
            ctx.spawn(helper, {"page": 0})
        ctx.wait_for_workers()
        return Continue("waiting")
    return Done(f"{sum(one.state['page'] for one in ctx.worker_results.values())} pages")


@app.task("deadlock")
def deadlock(ctx: Context) -> Continue:
    """Every worker waits for the others."""
    if ctx.worker_id == 0 and ctx.step == 0:
        ctx.spawn(1)
        ctx.spawn(2)
    ctx.wait_for_workers()
    return Continue()


@app.task("end", retry=AT_ONCE)
def end(ctx: Context) -> Any:
    """Three steps, and then the end that the input asks for."""
    ctx.state["steps"] = ctx.state.get("steps", 0) + 1
    ctx.app_state.set("steps", ctx.step)
    if ctx.step < 3:
        return Continue(f"step {ctx.step}")
    match ctx.state.get("how"):
        case "failed":
            return Fail("never")
        case "raised":
            raise KeyError("page")
        case "retried" if ctx.retry_count < 2:
            return Retry("not yet")
        case "oversize":
            return Continue(state={"big": "x" * 1_100_000})
        case "idle" if ctx.step < 6:
            return Continue(state={"how": "idle"})
        case _:
            return Done("done", {"steps": ctx.step})


RETRIED: Faults = {
    (0, 0): Response(503, b"busy"),
    (1, 0): Response(200, b'{"is_done": "yes"}'),
    (1, 1): Response(302, b""),
    (2, 0): Response(404, b"no such page"),
}
FINAL: Faults = {(2, 0): Response(400, b"broken for good")}
EXHAUSTED: Faults = {(1, count): Response(500, b"down") for count in range(3)}
MUTATIONS = [
    {"operation": "set", "key": "n", "value": "x"},
    {"operation": "increment", "key": "n", "value": 1},
]
REFUSED: Faults = {(2, 0): Response(200, json.dumps({"app_state_mutations": MUTATIONS}).encode())}

CASES: list[tuple[str, dict[str, Any], Faults]] = [
    ("join", {}, {}),
    ("deadlock", {}, {}),
    *(("end", {"how": how}, {}) for how in ("done", "failed", "raised", "retried", "oversize", "idle")),
    *(("end", {}, faults) for faults in (RETRIED, FINAL, EXHAUSTED, REFUSED)),
]


async def test_the_server_comes_to_the_same_ends(sqlite_url: str) -> None:
    scripts: dict[str, Faults] = {}

    async def answer(received: Received) -> Reply:
        turn = received.worker
        scripted = scripts[turn["task_exec_id"]].get((turn["step"], turn["retry_count"]))
        if scripted:
            return Reply(scripted.status, scripted.body)
        reply = await app.handle(received.body, received.headers)
        return Reply(reply.status, reply.body)

    async with running_world(sqlite_url, answer) as world:
        manifest = read_manifest(app.manifest(world.app.url))
        await world.database.write(apps.install, world.vault, WORKSPACE, manifest, SECRET)
        for number, (task, state, faults) in enumerate(CASES):
            before = json.loads(await world.app_state("app_agree"))
            scripts[f"case-{number}"] = faults
            world.collector.received.clear()
            await world.launch(f"app_agree_{task}", state, id=f"case-{number}")
            await world.ended(f"case-{number}")
            expected = await told_by(world, f"case-{number}")
            assert await told(task, state, before, faults) == expected, f"case {number}"


async def told(task: str, state: dict[str, Any], app_state: dict[str, Any], faults: Faults) -> dict[str, Any]:
    """The run in virtual time."""
    run = await run_task_async(
        app, task, state, app_state, respond=lambda call: faults.get((call.step, call.retry_count))
    )
    return {
        "end": (run.status, run.message),
        "app_state": run.app_state,
        "output": run.output,
        "workers": {
            worker_id: (one.status, one.step, one.retry_count, one.state, one.message)
            for worker_id, one in run.workers.items()
        },
        "calls": [
            (one.worker_id, one.step, one.outcome, one.failure, one.http_status, one.message, one.notes)
            for one in sorted(run.calls, key=lambda one: one.worker_id)
        ],
        "items": sorted((item["worker"], item["n"]) for item in run.items),
    }


async def told_by(world: World, execution: str) -> dict[str, Any]:
    """The same, as the server has it."""
    workers = await world.workers(execution)
    items = [item for received in world.collector.received for item in received.payload["items"]]
    (output,) = await world.row(
        "SELECT output FROM execution_details WHERE execution_pk = (SELECT pk FROM executions WHERE id = :id)",
        id=execution,
    )
    return {
        "end": (await world.status(execution), await world.message(execution) or workers[0]["message"]),
        "app_state": json.loads(await world.app_state("app_agree")),
        "output": json.loads(output or "{}"),
        "workers": {
            worker_id: (
                one["status"],
                one["step"],
                one["retry_count"],
                json.loads(one["state"]),
                one["message"],
            )
            for worker_id, one in workers.items()
        },
        "calls": [
            (
                *(one[name] for name in ("worker_id", "step", "outcome", "failure", "http_status", "message")),
                tuple(one["notes"].split("\n")) if one["notes"] else (),
            )
            for one in await world.calls(execution)
        ],
        "items": sorted((item["worker"], item["n"]) for item in items),
    }
