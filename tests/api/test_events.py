import asyncio
import json

import pytest

from orchestrator.api import events
from orchestrator.api.shapes.executions import ExecutionWithWorkers
from tests.api.doors import Api, Json, accepted, conforms

Event = tuple[str, Json]


class Pauses:
    """Takes the place of the stream's pauses: each of them lasts until the test lets it end."""

    def __init__(self) -> None:
        self._begun = asyncio.Semaphore(0)
        self._ended = asyncio.Semaphore(0)

    async def pause(self) -> None:
        self._begun.release()
        await self._ended.acquire()

    async def reached(self) -> None:
        """Wait until the stream pauses."""
        await asyncio.wait_for(self._begun.acquire(), timeout=10)

    def end(self) -> None:
        self._ended.release()


@pytest.fixture
async def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    pauses = Pauses()
    monkeypatch.setattr(events, "pause", pauses.pause)
    return pauses


def read_events(text: str) -> list[Event]:
    found = []
    for block in text.split("\n\n"):
        if block and not block.startswith(":"):
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_what_changes_is_sent_and_then_the_end(api: Api, pauses: Pauses) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch(state={'n': 1}))['id']}"
    stream = asyncio.ensure_future(api.admin.get(f"{path}/events"))
    await pauses.reached()
    accepted(await api.admin.patch(path, json={"subtext": "half of it"}))
    for _ in range(2):
        pauses.end()
        await pauses.reached()
    accepted(await api.admin.post(f"{path}/abort"))
    pauses.end()
    response = await stream
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    sent = read_events(response.text)
    assert [(name, data["status"], data["subtext"]) for name, data in sent] == [
        ("execution", "running", None),
        ("execution", "running", "half of it"),
        ("ended", "aborted", "half of it"),
    ]
    slim, last = sent[0][1], sent[-1][1]
    conforms(ExecutionWithWorkers, last)
    assert last == accepted(await api.admin.get(path))
    assert set(last) - set(slim) == {"input", "output"}
    assert set(last["workers"][0]) - set(slim["workers"][0]) == {"state", "output"}


async def test_the_stream_of_an_execution_that_has_ended_ends_at_once(api: Api) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}"
    accepted(await api.admin.post(f"{path}/abort"))
    [(name, data)] = read_events((await api.admin.get(f"{path}/events")).text)
    assert (name, data["status"]) == ("ended", "aborted")


async def test_while_nothing_changes_a_comment_keeps_the_connection_alive(api_on_sqlite: Api, pauses: Pauses) -> None:
    await api_on_sqlite.install()
    path = f"/v1/executions/{(await api_on_sqlite.launch())['id']}"
    stream = asyncio.ensure_future(api_on_sqlite.admin.get(f"{path}/events"))
    await pauses.reached()
    for _ in range(round(2 * events.HEARTBEAT_SECS / events.POLL_SECS)):
        pauses.end()
        await pauses.reached()
    accepted(await api_on_sqlite.admin.post(f"{path}/abort"))
    pauses.end()
    text = (await stream).text
    assert text.count("event: execution\n") == 1
    assert text.count(": still here\n\n") == 2


async def test_a_stream_ends_when_its_token_is_revoked(api: Api, pauses: Pauses) -> None:
    await api.install()
    path = f"/v1/executions/{(await api.launch())['id']}"
    made = accepted(await api.admin.post("/v1/tokens", json={"name": "x", "role": "viewer"}), 201)
    client = await api.client(made["token"])
    stream = asyncio.ensure_future(client.get(f"{path}/events"))
    await pauses.reached()
    assert (await api.admin.delete(f"/v1/tokens/{made['id']}")).status_code == 204
    pauses.end()
    assert [name for name, _ in read_events((await stream).text)] == ["execution"]
