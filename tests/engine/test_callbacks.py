"""Awaiting a callback: parked, called back, resumed, failed; twice, otherwise, unknown, and with a signed URL."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from orchestrator.domain.errors import Conflict, Invalid, NotFound
from orchestrator.service import callbacks
from orchestrator.service.callback_urls import CallbackSigner
from orchestrator.service.tokens import Scope
from orchestrator.service.vault import Vault
from orchestrator.store.reads import Read
from orchestrator.store.transaction import Transaction
from tests.engine.gate import Gate
from tests.engine.scripted import ONE_RETRY, Scripted, scripted_world
from tests.engine.third_party import SCOPE, ThirdParty
from tests.support.fake_app import Reply
from tests.support.waiting import eventually
from tests.support.world import WORKSPACE

pytestmark = pytest.mark.asyncio(loop_scope="module")

DONE = {"is_done": True}
AWAIT: dict[str, Any] = {"await_callback": {}}
RESUMING: dict[str, Any] = {"await_callback": {"resume": True}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(shared_database_url: str) -> AsyncIterator[Scripted]:
    async with scripted_world(shared_database_url) as scripted:
        tasks: list[dict[str, Any]] = [
            {"retry": {**ONE_RETRY, "max_retries": 2}, "on_multiple_exec": "allow"},
            {"id": "app_test_async", "name": "Async", "on_multiple_exec": "allow", "is_async": True},
        ]
        await scripted.world.install(*tasks)
        await scripted.world.install({"on_multiple_exec": "allow"}, app_id="app_other")
        yield scripted


@pytest.fixture
def third(app: Scripted) -> ThirdParty:
    return ThirdParty(app.world)


async def parked(app: Scripted, third: ThirdParty, *steps: Any, **order: Any) -> str:
    execution = await app.start(*steps, **order)
    await third.awaits(execution)
    return execution


async def test_a_callback_ends_the_worker_with_all_that_it_says(app: Scripted, third: ThirdParty) -> None:
    own = {**AWAIT, "output": {"a": 1, "b": 1}, "logs": "handed over", "message": "waiting", "subtext": "waiting"}
    execution = await parked(app, third, own)
    assert (await third.shown(execution)).worker_subtext == "waiting"
    said: dict[str, Any] = {"output": {"b": 2, "c": None}, "logs": "one\nline", "subtext": "90/100 passing"}
    received = await third.call_back(execution, **said)
    assert callbacks.task_status(received.task) == "COMPLETE"
    shown = await third.shown(execution)
    assert (shown.status, shown.worker, shown.worker_message) == ("succeeded", "done", "waiting")
    assert shown.output == shown.worker_output == {"a": 1, "b": 2, "c": None}
    assert shown.subtext == shown.worker_subtext == "90/100 passing"
    assert shown.lines == [(0, 0, "handed over"), (0, 0, "one\nline")]
    assert len((await app.ended(execution)).received) == 1


async def test_a_list_of_logs_is_a_line_each(app: Scripted, third: ThirdParty) -> None:
    execution = await parked(app, third, AWAIT)
    await third.call_back(f"{execution}:0:0", logs=["one", "two\nthree"])
    assert (await third.shown(execution)).lines == [(0, 0, "one"), (0, 0, "two\nthree")]


async def test_with_resume_every_call_of_the_next_step_is_told_of_it(app: Scripted, third: ThirdParty) -> None:
    in_error = {"is_error": True, "delay_next_request_in_secs": 0}
    execution = await parked(app, third, RESUMING, Reply(503), in_error, {}, DONE)
    await third.call_back(f"{execution}:0", output={"n": 2**63}, logs=["x"], subtext="ready")
    run = await app.ended(execution)
    told = {"status": "SUCCESS", "output": {"n": 2**63}, "logs": ["x"], "subtext": "ready"}
    # An error is followed by another try of the same turn; after an answer without one it is over.
    assert [one.worker.get("callback") for one in run.received] == [None, told, told, told, None]
    assert [one.worker["step"] for one in run.received] == [0, 1, 1, 2, 3]
    assert run.status == "succeeded"


async def test_a_failure_is_not_retried_and_ends_the_others(app: Scripted, third: ThirdParty) -> None:
    gate = Gate({})
    execution = await app.start(RESUMING, workers={1: "{}", 2: "{}"})
    app.script.write(execution, gate, worker_id=1)
    app.script.write(execution, {"delay_next_request_in_secs": 3600}, worker_id=2)
    await third.awaits(execution)
    await gate.holds()
    received = await third.call_back(execution, succeeded=False, output={"a": 1}, subtext="no disk left")
    assert callbacks.task_status(received.task) == "FAILED"
    gate.open()
    run = await app.ended(execution)
    assert (run.status, run.message) == ("failed", "worker 0: the callback reported a failure: no disk left")
    assert run.worker["message"] == "the callback reported a failure: no disk left"
    assert {id_: one["status"] for id_, one in run.workers.items()} == {0: "failed", 1: "aborted", 2: "aborted"}
    assert (await third.shown(execution)).output == {"a": 1}
    assert len([one for one in run.received if one.worker["worker_id"] == 0]) == 1


async def test_a_retry_after_a_failure_calls_the_worker_again(app: Scripted, third: ThirdParty) -> None:
    execution = await parked(app, third, RESUMING, RESUMING, DONE)
    await third.call_back(execution, succeeded=False)
    assert (await app.ended(execution)).status == "failed"
    await app.world.retry(execution)
    await third.awaits(execution, step=1)
    await third.call_back(execution, output={"second": True})
    run = await app.ended(execution)
    assert (run.status, [one.worker["step"] for one in run.received]) == ("succeeded", [0, 1, 2])
    assert [(one.worker.get("callback") or {}).get("output") for one in run.received] == [None, None, {"second": True}]


async def test_the_same_again_changes_nothing_and_another_is_refused(app: Scripted, third: ThirdParty) -> None:
    gate = Gate(DONE)
    execution = await parked(app, third, RESUMING, gate)
    said: dict[str, Any] = {"output": {"n": 1}, "logs": ["once"]}
    first = await third.call_back(execution, **said)
    await gate.holds()
    again = await third.call_back(execution, **said)
    assert (first.task.output, first.task.execution_id) == (again.task.output, again.task.execution_id)
    for other in ({"output": {"n": 2}}, {**said, "subtext": "more"}, {"succeeded": False, **said}):
        with pytest.raises(Conflict, match="another callback came before, for step 0"):
            await third.call_back(execution, **other)
    gate.open()
    assert (await app.ended(execution)).status == "succeeded"
    await third.call_back(f"{execution}:0:0", **said)
    assert (await third.shown(execution)).lines == [(0, 0, "once")]
    assert await third.fates(execution) == {(0, 0): "applied"}


async def test_every_await_has_a_callback_of_its_own(app: Scripted, third: ThirdParty) -> None:
    execution = await parked(app, third, RESUMING, RESUMING, DONE)
    for step in range(2):
        await third.awaits(execution, step=step)
        await third.call_back(f"{execution}:0:{step}", output={"step": step})
    run = await app.ended(execution)
    assert [(one.worker.get("callback") or {}).get("output") for one in run.received] == [
        None,
        {"step": 0},
        {"step": 1},
    ]


async def test_an_async_task_parks_whatever_it_answers(app: Scripted, third: ThirdParty) -> None:
    execution = await parked(app, third, DONE, task_id="app_test_async")
    await third.call_back(execution)
    assert (await app.ended(execution)).status == "succeeded"
    failed = await app.run({**DONE, "is_error": True, "message": "no"}, task_id="app_test_async")
    assert (failed.status, await third.fates(failed.id)) == ("failed", {})


async def test_what_is_unknown_or_foreign_is_not_found(app: Scripted, third: ThirdParty) -> None:
    execution = await parked(app, third, AWAIT)
    [(other_pk,)] = await app.world.rows("SELECT pk FROM apps WHERE id = 'app_other'")
    foreign = {Scope("another"), Scope(WORKSPACE, app_pk=other_pk)}
    named = {(scope, execution) for scope in foreign} | {
        (SCOPE, task_id)
        for task_id in (
            "no-such",
            f"{execution}:1",
            f"{execution}:0:2",
            f"{execution}:",
            f"{execution}:0:0:0",
            f"{execution}:a",
            f"{execution}:10",
            "",
            ":0",
        )
    }
    for scope, task_id in named:
        with pytest.raises(NotFound):
            await third.call_back(task_id, scope)
    await third.call_back(execution)


async def test_what_awaits_nothing_any_more_is_a_conflict(app: Scripted, third: ThirdParty) -> None:
    execution = await parked(app, third, AWAIT)
    await app.world.abort(execution)
    with pytest.raises(Conflict, match="it is aborted"):
        await third.call_back(execution)
    done = await app.run(DONE)
    with pytest.raises(Conflict, match="it is done"):
        await third.call_back(done.id)
    assert await third.fates(execution) == await third.fates(done.id) == {}


async def test_the_url_of_the_payload_is_bound_to_its_own_await(app: Scripted, third: ThirdParty) -> None:
    execution = await app.start(RESUMING, RESUMING, DONE, workers={3: "{}"})
    app.script.write(execution, AWAIT, worker_id=3)
    await third.awaits(execution)
    await third.awaits(execution, 3)
    urls = {one.worker["worker_id"]: one.worker["callback_url"] for one in app.script.received[execution]}
    assert urls[0].startswith("http://127.0.0.1:1/external-events/callback/")
    with pytest.raises(Invalid, match="for another task"):
        await third.call_back_at(urls[3], execution)
    await third.call_back_at(urls[3], f"{execution}:3")
    await third.call_back_at(urls[0], execution, output={"n": 1})
    await third.awaits(execution, step=1)
    await third.call_back_at(urls[0], f"{execution}:0:0", output={"n": 1})
    with pytest.raises(Conflict, match="for step 0"):
        await third.call_back_at(urls[0], output={"n": 2})
    assert (await third.shown(execution)).worker == "awaiting"
    second = app.script.received[execution][-1].worker["callback_url"]
    await third.call_back_at(second)
    assert (await app.ended(execution)).status == "succeeded"


async def test_a_url_that_nobody_signed_is_not_found() -> None:
    signer = CallbackSigner(Vault("a master key"))
    name = signer.sign("uid", 1, 2)
    assert (signer.read(name).uid, signer.read(name).worker_id, signer.read(name).step) == ("uid", 1, 2)
    others = CallbackSigner(Vault("another master key")).sign("uid", 1, 2)
    for forged in (others, name.replace(".1.", ".2."), name[:-1], name + "x", "", "a.b.c", ".", "\udc80"):
        with pytest.raises(NotFound):
            signer.read(forged)


async def test_a_line_of_text_can_be_set_beside_any_worker(app: Scripted, third: ThirdParty) -> None:
    gate = Gate(DONE)
    execution = await app.start(gate, workers={1: "{}"})
    await gate.holds()

    async def helper_is_done() -> bool:
        return (await third.shown(execution, 1)).worker == "done"

    await eventually(helper_is_done, "the helper's end")

    async def set_subtext(task_id: str, scope: Scope = SCOPE) -> str:
        view = await app.world.database.write(callbacks.set_subtext, callbacks.called(scope, task_id), f"of {task_id}")
        return f"{callbacks.task_status(view)} {view.subtext}"

    assert await set_subtext(f"{execution}:1") == f"COMPLETE of {execution}:1"
    assert (await third.shown(execution, 1)).worker_subtext == (await third.shown(execution)).subtext
    assert await set_subtext(execution) == f"ACTIVE of {execution}"
    assert (await third.shown(execution, 1)).worker_subtext == f"of {execution}:1"
    for task_id, scope in ((f"{execution}:2", SCOPE), ("no-such", SCOPE), (execution, Scope("another"))):
        with pytest.raises(NotFound):
            await set_subtext(task_id, scope)
    gate.open()
    await app.ended(execution)


async def test_who_never_awaits_costs_no_statement(app: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    for name in ("rows", "run", "run_many", "run_all", "put_off"):
        original = getattr(Transaction, name)

        def spied(self: Transaction, sql: str, *args: Any, original: Any = original, **named: Any) -> Any:
            if args != ([],) and args != ((),):
                asked.append(sql)
            return original(self, sql, *args, **named)

        monkeypatch.setattr(Transaction, name, spied)
    read = Transaction.read

    def spied_read(self: Transaction, *reads: Read) -> None:
        asked.extend(one.sql for one in reads)
        read(self, *reads)

    monkeypatch.setattr(Transaction, "read", spied_read)
    run = await app.run({}, {"updated_worker_state": {"n": 1}}, DONE)
    assert run.status == "succeeded"
    assert any("FROM workers" in sql for sql in asked)
    assert not [sql for sql in asked if "callbacks" in sql]
