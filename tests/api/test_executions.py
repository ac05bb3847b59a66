import asyncio
import json

from orchestrator.api.shapes import executions as shapes
from orchestrator.store import execution_views
from orchestrator.store import records as statements
from orchestrator.store.execution_views import ExecutionView, WorkerView
from orchestrator.store.transaction import Transaction
from tests.api.doors import Api, accepted, conforms, refused
from tests.api.recorded import a_call, pk_of


async def test_the_subtext_can_be_changed_at_any_time(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}"
    changed = accepted(await api.admin.patch(path, json={"subtext": "half of it"}))
    conforms(shapes.Execution, changed)
    assert changed["subtext"] == "half of it"
    accepted(await api.admin.post(f"{path}/abort"))
    assert accepted(await api.admin.patch(path, json={"subtext": "given up"}))["subtext"] == "given up"
    refused(await api.admin.patch("/v1/executions/no", json={"subtext": "x"}), 404, "not-found")


async def test_abort_ends_an_execution_with_its_workers(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch(workers=[{'worker_id': 1}]))['id']}"
    woken = len(api.wakes)
    aborted = accepted(await api.admin.post(f"{path}/abort", json={"message": "wrong data"}))
    conforms(shapes.Execution, aborted)
    assert (aborted["status"], aborted["status_code"], aborted["message"]) == ("aborted", -2, "wrong data")
    assert aborted["ended_at"] is not None
    assert len(api.wakes) == woken + 1
    workers = accepted(await api.admin.get(path))["workers"]
    assert [worker["status"] for worker in workers] == ["aborted", "aborted"]
    problem = refused(await api.admin.post(f"{path}/abort"), 409, "conflict")
    assert "aborted" in problem["detail"]


async def test_an_abort_without_words_says_whose_it_was(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}/abort"
    assert accepted(await api.admin.post(path))["message"] == "aborted by first admin"


async def test_retry_begins_a_new_attempt(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}"
    refused(await api.admin.post(f"{path}/retry"), 409, "conflict")
    accepted(await api.admin.post(f"{path}/abort"))
    woken = len(api.wakes)
    again = accepted(await api.admin.post(f"{path}/retry"))
    conforms(shapes.Execution, again)
    assert (again["status"], again["attempt"], again["message"]) == ("running", 2, None)
    assert len(api.wakes) == woken + 1


async def test_a_retry_obeys_the_overlap_policy(api: Api) -> None:
    await api.install()
    first = await api.launch()
    accepted(await api.admin.post(f"/v1/executions/{first['id']}/abort"))
    second = await api.launch()
    response = await api.admin.post(f"/v1/executions/{first['id']}/retry")
    assert refused(response, 409, "already-running")["execution_id"] == second["id"]


async def test_resuming_launches_anew_and_tells_what_stays(api: Api) -> None:
    await api.install()
    first = await api.launch(state={"page": 1}, multiple_exec_key="k")
    path = f"/v1/executions/{first['id']}"
    made = {"updated_worker_state": {"page": 2}}

    def record(tx: Transaction) -> None:
        later = a_call(pk_of(tx), 2, answer=json.dumps({"app_state_mutations": [{}, {}]}), items=250)
        statements.record_calls(tx, [a_call(pk_of(tx), 1, answer=json.dumps(made)), later])

    await api.write(record)
    body = {"call": "0.2", "id": "again", "name": "once more"}
    assert (
        refused(await api.admin.post(f"{path}/resume", json=body), 409, "already-running")["execution_id"]
        == first["id"]
    )
    accepted(await api.admin.post(f"{path}/abort"))
    woken = len(api.wakes)
    headers = {"Idempotency-Key": "resume-1"}
    response = await api.admin.post(f"{path}/resume", json=body, headers=headers)
    again = accepted(response, 201)
    conforms(shapes.Execution, again)
    assert response.headers["Location"] == "/v1/executions/again"
    assert (again["input"], again["multiple_exec_key"], again["name"]) == ({"page": 1}, "k", "once more")
    assert again["resumed_from"] == {
        "execution_id": first["id"],
        "call": "0.2",
        "worker_id": 0,
        "step": 1,
        "since": {"calls": 1, "items": 250, "mutations": 2},
    }
    shown = accepted(await api.admin.get("/v1/executions/again"))
    assert [worker["state"] for worker in shown["workers"]] == [{"page": 2}]
    assert accepted(await api.admin.post(f"{path}/resume", json=body, headers=headers), 201) == again
    assert len(api.wakes) == woken + 1


async def test_a_call_that_cannot_be_resumed_from_is_told(api_on_sqlite: Api) -> None:
    await api_on_sqlite.install()
    path = f"/v1/executions/{(await api_on_sqlite.launch())['id']}/resume"
    problem = refused(await api_on_sqlite.admin.post(path, json={"call": "the last"}), 422, "invalid")
    assert "such as 0.12" in problem["detail"]
    refused(await api_on_sqlite.admin.post(path, json={"call": "0.7"}), 404, "not-found")
    refused(await api_on_sqlite.admin.post(path, json={}), 422, "invalid")


async def test_an_execution_with_a_retried_worker_says_so_in_its_status_code(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}"
    await api.write(lambda tx: tx.run("UPDATE workers SET retry_count = 2, undelivered = 3"))
    shown = accepted(await api.admin.get(path))
    assert (shown["status_code"], shown["undelivered_batches"]) == (-1, 3)
    assert [worker["retry_count"] for worker in shown["workers"]] == [2]


async def test_what_a_worker_told_is_shown(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}"

    def tell(tx: Transaction) -> None:
        tx.run(
            "UPDATE worker_states SET message = :message, progress = :progress, output = :output",
            message="page 3",
            progress='{"current":3,"total":12.5,"unit":null}',
            output='{"rows":7}',
        )
        tx.run("UPDATE execution_details SET output = :output", output='{"rows":7}')

    await api.write(tell)
    shown = accepted(await api.admin.get(path))
    conforms(shapes.ExecutionWithWorkers, shown)
    [worker] = shown["workers"]
    assert worker["progress"] == {"current": 3, "total": 12.5, "unit": None}
    assert (worker["message"], worker["output"], shown["output"]) == ("page 3", {"rows": 7}, {"rows": 7})


async def test_an_unknown_execution_is_not_found(api_on_sqlite: Api) -> None:
    admin = api_on_sqlite.admin
    for response in (
        await admin.get("/v1/executions/no"),
        await admin.get("/v1/executions/"),
        await admin.post("/v1/executions/no/abort"),
        await admin.post("/v1/executions/no/retry"),
        await admin.post("/v1/executions/no/resume", json={"call": "0.1"}),
        await admin.get("/v1/executions/no/calls"),
        await admin.get("/v1/executions/no/logs"),
        await admin.get("/v1/executions/no/events"),
    ):
        refused(response, 404, "not-found")


async def test_an_execution_and_its_workers_are_seen_at_one_instant(api_on_postgresql: Api) -> None:
    await api_on_postgresql.install()
    execution = await api_on_postgresql.launch()
    found, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    looks: list[str] = []

    def look(tx: Transaction) -> tuple[ExecutionView, list[WorkerView]]:
        tx.freeze()
        view = execution_views.find(tx, "default", execution["id"], None)
        assert view is not None
        looks.append(view.status)
        loop.call_soon_threadsafe(found.set)
        asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(timeout=10)
        return view, execution_views.workers_and_totals(tx, view.pk)[0]

    looking = asyncio.ensure_future(api_on_postgresql.read(look))
    await found.wait()
    accepted(await api_on_postgresql.admin.post(f"/v1/executions/{execution['id']}/abort"))
    leave.set()
    view, [worker] = await looking
    assert looks[0] == "running"
    # A statement that the driver has dropped lets the database begin again: it then sees the abort, of both.
    expected = ("running", "ready") if len(looks) == 1 else ("aborted", "aborted")
    assert (view.status, worker.status) == expected, looks
