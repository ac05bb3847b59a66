from orchestrator.api.shapes import status as shapes
from tests.api.doors import Api, accepted, conforms, refused


async def test_the_process_lives(api_on_sqlite: Api) -> None:
    client = await api_on_sqlite.client(None)
    api_on_sqlite.is_ready = False
    assert accepted(await client.get("/healthz")) == {"status": "alive"}


async def test_a_node_says_whether_it_can_serve(api_on_sqlite: Api) -> None:
    client = await api_on_sqlite.client(None)
    assert accepted(await client.get("/readyz")) == {"status": "ready"}
    api_on_sqlite.is_ready = False
    response = await client.get("/readyz")
    refused(response, 503, "unavailable")
    assert response.headers["retry-after"] == "5"


async def test_the_status_counts_what_is_under_way(api: Api) -> None:
    await api.install()
    execution = await api.launch(workers=[{"worker_id": 1}])
    accepted(await api.admin.post(f"/v1/executions/{execution['id']}/abort"))
    await api.launch(workers=[{"worker_id": 1}, {"worker_id": 2}])
    status = accepted(await api.admin.get("/v1/status"))
    conforms(shapes.Status, status)
    assert status == {
        "version": "0.1.0",
        "node": "node-1",
        "database": api.context.database.dialect.value,
        "executions": {"pending": 0, "running": 1, "succeeded": 0, "failed": 0, "aborted": 1},
        "due_workers": 3,
        "undelivered_batches": 0,
    }
    accepted(await api.admin.post("/v1/apps/app_shop/stop"))
    assert accepted(await api.admin.get("/v1/status"))["due_workers"] == 0
