"""The events of a workspace as server-sent events."""

import asyncio
import json

import pytest

from orchestrator.api import event_stream
from orchestrator.service import event_queries, publishing
from orchestrator.store.transaction import Transaction
from tests.api.doors import Api, Json, accepted, fields, refused
from tests.api.test_events import Pauses
from tests.engine.posting import FAILURE, SUCCESS, insert_events


@pytest.fixture
async def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    pauses = Pauses()
    monkeypatch.setattr(event_stream, "pause", pauses.pause)
    return pauses


async def publish(api: Api, count: int, type_: str = SUCCESS, prefix: str = "evt", workspace: str = "default") -> None:
    def work(tx: Transaction) -> None:
        insert_events(tx, count, type_, workspace, prefix)
        publishing.publish(tx)

    await api.write(work)


async def read(
    api: Api, pauses: Pauses, headers: Json | None = None, token: Json | None = None, **query: str | int
) -> str:
    """The stream up to its first pause, in which its token is revoked."""
    made = token or accepted(await api.admin.post("/v1/tokens", json={"name": "x", "role": "viewer"}), 201)
    client = await api.client(made["token"])
    params: dict[str, str | int] = {"pattern": "#", **query}
    stream = asyncio.ensure_future(client.get("/v1/events", params=params, headers=headers))
    await pauses.reached()
    assert (await api.admin.delete(f"/v1/tokens/{made['id']}")).status_code == 204
    pauses.end()
    response = await stream
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    return response.text


def numbers(text: str) -> list[int]:
    """The numbers of the events, as the ids of their blocks."""
    blocks = [block.split("\n") for block in text.split("\n\n") if "\ndata: " in block]
    return [int(lines[0].removeprefix("id: ")) for lines in blocks]


async def test_an_event_is_a_cloud_event_in_json(api: Api, pauses: Pauses) -> None:
    await api.install()
    execution = await api.launch(id="run 1")
    aborted = accepted(await api.admin.post(f"/v1/executions/{execution['id']}/abort"))
    await api.write(publishing.publish)
    text = await read(api, pauses, after=0)
    [data] = [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]
    assert data.pop("id").startswith("evt_")
    assert data.pop("time").endswith("Z")
    assert data == {
        "specversion": "1.0",
        "source": "urn:orchestrator:workspace:default",
        "type": "core.task.app_shop_sync.failure.v1",
        "subject": "run 1",
        "datacontenttype": "application/json",
        "sequence": "1",
        "data": {
            "id": "run 1",
            "attempt": 1,
            "task": "app_shop_sync",
            "application": "app_shop",
            "status": "FAILURE",
            "result": None,
            "error": aborted["message"],
            "message": aborted["message"],
        },
    }


async def test_whoever_comes_back_goes_on_where_it_was(api: Api, pauses: Pauses) -> None:
    await publish(api, 5)
    assert numbers(await read(api, pauses, after=0)) == [1, 2, 3, 4, 5]
    assert numbers(await read(api, pauses, after=3)) == [4, 5]
    assert numbers(await read(api, pauses, {"Last-Event-ID": "4"}, after=0)) == [5], "a client's own word wins"
    fresh = await read(api, pauses)
    assert fresh == "id: 5\n: still here\n\n", "from now on"


async def test_only_what_matches_and_belongs_to_the_caller(
    api: Api, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queries, "LOOK", 2)
    await publish(api, 3, SUCCESS)
    await publish(api, 2, FAILURE, "bad")
    await publish(api, 3, FAILURE, "foreign", "elsewhere")
    await publish(api, 1, FAILURE, "last")
    assert numbers(await read(api, pauses, after=0, pattern="#.failure.v1")) == [4, 5, 9]
    assert numbers(await read(api, pauses, after=0, pattern="core.task.*")) == []


async def test_an_apps_token_sees_its_own_apps_events(api: Api, pauses: Pauses) -> None:
    for app_id in ("app_shop", "app_other"):
        await api.install(app_id)
        execution = await api.launch(f"{app_id}_sync")
        accepted(await api.admin.post(f"/v1/executions/{execution['id']}/abort"))
    await api.write(publishing.publish)
    order = {"name": "x", "role": "app", "app_id": "app_other"}
    token = accepted(await api.admin.post("/v1/tokens", json=order), 201)
    text = await read(api, pauses, token=token, after=0)
    assert numbers(text) == [2]
    assert "app_shop" not in text


async def test_new_events_come_as_they_are_published_and_heartbeats_between(api: Api, pauses: Pauses) -> None:
    made = accepted(await api.admin.post("/v1/tokens", json={"name": "x", "role": "viewer"}), 201)
    client = await api.client(made["token"])
    stream = asyncio.ensure_future(client.get("/v1/events", params={"pattern": "#"}))
    await pauses.reached()
    await publish(api, 2)
    for _ in range(round(event_stream.HEARTBEAT_SECS / event_stream.POLL_SECS) + 1):
        pauses.end()
        await pauses.reached()
    accepted_status = (await api.admin.delete(f"/v1/tokens/{made['id']}")).status_code
    pauses.end()
    text = (await stream).text
    assert (accepted_status, numbers(text)) == (204, [1, 2])
    assert text.startswith("id: 0\n: still here\n\n")
    assert text.endswith("id: 2\n: still here\n\n")


async def test_what_cannot_be_followed_is_refused(api_on_sqlite: Api) -> None:
    refused(await api_on_sqlite.admin.get("/v1/events"), 422, "invalid")
    wrong = await api_on_sqlite.admin.get("/v1/events", params={"pattern": "a b"})
    assert fields(refused(wrong, 422, "invalid")) == ["pattern"]
    for given in ("x", "-1", "1" * 30, "٣"):
        headers = {"Last-Event-ID": given.encode()}
        response = await api_on_sqlite.admin.get("/v1/events", params={"pattern": "#"}, headers=headers)  # type: ignore[arg-type]
        assert fields(refused(response, 422, "invalid")) == ["Last-Event-ID"]
