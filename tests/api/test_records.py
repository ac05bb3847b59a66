from orchestrator.api.shapes import executions, records
from orchestrator.store import outbox
from orchestrator.store import records as statements
from orchestrator.store.transaction import Transaction
from tests.api.doors import Api, accepted, conforms, fields, refused
from tests.api.recorded import a_call, pk_of


async def test_calls_are_listed_newest_first(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}/calls"

    def record(tx: Transaction) -> None:
        pk = pk_of(tx)
        later = a_call(pk, 3, worker_id=1, started_at=None, ended_at=2_001_500)
        statements.record_calls(tx, [a_call(pk, 1), a_call(pk, 2), later])

    await api.write(record)
    first = accepted(await api.admin.get(path, params={"limit": 2}))
    assert [(call["worker_id"], call["token"]) for call in first["items"]] == [(1, 3), (0, 2)]
    assert first["items"][0]["duration_ms"] is None
    second = accepted(await api.admin.get(path, params={"limit": 2, "cursor": first["next_cursor"]}))
    assert [call["token"] for call in second["items"]] == [1]
    assert second["next_cursor"] is None
    of_one = accepted(await api.admin.get(path, params={"worker_id": 1}))
    assert [one["token"] for one in of_one["items"]] == [3]


async def test_a_call_is_shown_as_it_was_recorded(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}/calls"
    answer = '{"is_done":false,"big":18446744073709551615}'
    failure = {"outcome": "failed", "failure": "timeout", "http_status": None, "message": "20 s"}

    def record(tx: Transaction) -> None:
        pk = pk_of(tx)
        whole = a_call(pk, 1, answer=answer, items=4, notes="a\nb", spawned='{"1":0,"3":7}', rests="waiting")
        statements.record_calls(tx, [whole, a_call(pk, 2, **failure)])

    await api.write(record)
    failed, call = accepted(await api.admin.get(path))["items"]
    conforms(records.Call, failed)
    conforms(records.Call, call)
    assert {name: failed[name] for name in failure} == failure
    assert call == {
        "id": "0.1",
        "worker_id": 0,
        "step": 0,
        "token": 1,
        "attempt": 1,
        "retry_count": 0,
        "outcome": "applied",
        "failure": None,
        "http_status": 200,
        "message": None,
        "notes": ["a", "b"],
        "spawned": [1, 3],
        "answer": {"is_done": False, "big": 2**64 - 1},
        "items": 4,
        "node": "node-1",
        "started_at": "1970-01-01T00:00:01.000000Z",
        "ended_at": "1970-01-01T00:00:01.001500Z",
        "duration_ms": 1.5,
    }


async def test_log_lines_are_listed_newest_first(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}/logs"

    def log(tx: Transaction) -> None:
        pk = pk_of(tx)
        lines = [
            {
                "execution_pk": pk,
                "worker_id": 0,
                "step": step,
                "line": f"line {step}\nof it",
                "logged_at": step,
            }
            for step in range(3)
        ]
        statements.log(tx, lines)

    await api.write(log)
    first = accepted(await api.admin.get(path, params={"limit": 2}))
    assert [line["step"] for line in first["items"]] == [2, 1]
    conforms(records.LogLine, first["items"][0])
    second = accepted(await api.admin.get(path, params={"cursor": first["next_cursor"]}))
    assert second["items"] == [
        {"worker_id": 0, "step": 0, "line": "line 0\nof it", "logged_at": "1970-01-01T00:00:00.000000Z"}
    ]


async def test_a_cursor_serves_its_own_list_only(api_on_sqlite: Api) -> None:
    await api_on_sqlite.install()
    path = f"/v1/executions/{(await api_on_sqlite.launch())['id']}"
    await api_on_sqlite.write(lambda tx: statements.record_calls(tx, [a_call(pk_of(tx), 1), a_call(pk_of(tx), 2)]))
    calls = accepted(await api_on_sqlite.admin.get(f"{path}/calls", params={"limit": 1}))
    cursor = {"cursor": calls["next_cursor"]}
    problem = refused(await api_on_sqlite.admin.get(f"{path}/logs", params=cursor), 422, "invalid")
    assert fields(problem) == ["cursor"]


async def test_the_totals_add_up_calls_and_items(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}"

    def record(tx: Transaction) -> None:
        pk = pk_of(tx)
        statements.record_calls(
            tx,
            [
                a_call(pk, 1, items=300),
                a_call(pk, 2, items=9, outcome="fenced", retry_count=1),
                a_call(pk, 3, items=0, outcome="failed", failure="dns", retry_count=2),
            ],
        )
        batch = {
            "workspace_id": "default",
            "execution_pk": pk,
            "worker_id": 0,
            "step": 0,
            "items": "[]",
            "due_at": 1,
            "created_at": 1,
        }
        outbox.put(
            tx,
            [{**batch, "part": part, "key": f"k{part}", "item_count": count} for part, count in ((0, 250), (1, 50))],
        )
        tx.run("UPDATE import_batches SET status = 'delivered' WHERE part = 0")

    await api.write(record)
    shown = accepted(await api.admin.get(path))
    conforms(executions.ExecutionWithWorkers, shown)
    assert shown["totals"] == {"calls": 3, "retries": 2, "items": 300, "delivered_items": 250}
