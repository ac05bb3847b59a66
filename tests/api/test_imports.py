from orchestrator.api.shapes import imports as shapes
from orchestrator.store import outbox
from orchestrator.store.transaction import Transaction
from tests.api.doors import Api, accepted, conforms, refused


async def with_batches(api: Api, count: int) -> str:
    """An execution with batches, of which the collector has refused the first; returns its id."""
    await api.install()
    execution = await api.launch()

    def put(tx: Transaction) -> None:
        found = tx.row("SELECT pk FROM executions")
        assert found is not None
        batch = {
            "workspace_id": "default",
            "execution_pk": found[0],
            "worker_id": 0,
            "step": 0,
            "items": '[{"kind":"a"}]',
            "item_count": 1,
            "created_at": 5,
        }
        outbox.put(
            tx,
            [{**batch, "part": part, "key": f"imp_{part}", "due_at": None if part else 5} for part in range(count)],
        )
        tx.run(
            "UPDATE import_batches SET status = 'refused', due_at = NULL, message = :said WHERE part = 0",
            said="HTTP 422: no kind",
        )
        tx.run("UPDATE workers SET undelivered = :count, refused = 'refused'", count=count)

    await api.write(put)
    return str(execution["id"])


async def test_batches_are_listed_newest_first_and_filtered(api: Api) -> None:
    execution_id = await with_batches(api, 3)
    first = accepted(await api.admin.get("/v1/import-batches", params={"limit": 2}))
    second = accepted(await api.admin.get("/v1/import-batches", params={"cursor": first["next_cursor"]}))
    assert [batch["key"] for batch in first["items"] + second["items"]] == ["imp_2", "imp_1", "imp_0"]
    [refused_one] = second["items"]
    conforms(shapes.ImportBatch, refused_one)
    assert refused_one["execution_id"] == execution_id
    assert (refused_one["status"], refused_one["message"]) == ("refused", "HTTP 422: no kind")
    of_status = accepted(await api.admin.get("/v1/import-batches", params={"status": "refused"}))
    assert of_status["items"] == [refused_one]
    both = {"status": ["refused", "pending"], "execution_id": execution_id}
    assert len(accepted(await api.admin.get("/v1/import-batches", params=both))["items"]) == 3
    refused(await api.admin.get("/v1/import-batches", params={"execution_id": "no"}), 404, "not-found")
    refused(await api.admin.get("/v1/import-batches", params={"status": "lost"}), 422, "invalid")


async def test_a_refused_batch_is_redelivered(api: Api) -> None:
    await with_batches(api, 1)
    woken = len(api.wakes)
    batch = accepted(await api.admin.post("/v1/import-batches/imp_0/redeliver"))
    conforms(shapes.ImportBatch, batch)
    assert batch["status"] == "pending"
    assert batch["due_at"] is not None
    assert len(api.wakes) == woken + 1
    refused(await api.admin.post("/v1/import-batches/imp_0/redeliver"), 409, "conflict")
    refused(await api.admin.post("/v1/import-batches/no/redeliver"), 404, "not-found")


async def test_a_refused_batch_is_discarded_and_it_is_told_by_whom(api: Api) -> None:
    execution_id = await with_batches(api, 2)
    batch = accepted(await api.admin.post("/v1/import-batches/imp_0/discard"))
    assert batch["status"] == "discarded"
    assert batch["message"].startswith("discarded by first admin (tok_")
    assert "no kind" in batch["message"]
    assert accepted(await api.admin.get(f"/v1/executions/{execution_id}"))["undelivered_batches"] == 1
    [next_one] = accepted(await api.admin.get("/v1/import-batches", params={"status": "pending"}))["items"]
    assert next_one["due_at"] is not None
    refused(await api.admin.post("/v1/import-batches/imp_0/discard"), 409, "conflict")


async def test_until_then_a_retry_is_refused_and_names_the_batch(api: Api) -> None:
    execution_id = await with_batches(api, 1)
    path = f"/v1/executions/{execution_id}"
    accepted(await api.admin.post(f"{path}/abort"))
    assert refused(await api.admin.post(f"{path}/retry"), 409, "conflict")["batch"] == "imp_0"
    accepted(await api.admin.post("/v1/import-batches/imp_0/discard"))
    assert accepted(await api.admin.post(f"{path}/retry"))["status"] == "running"
