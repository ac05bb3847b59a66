"""`orchestrator subscription` and `orchestrator events`."""

import json
from collections.abc import Iterator

import httpx
import pytest
import respx

from orchestrator.cli import events
from orchestrator.cli.api_client import ApiClient
from orchestrator.cli.events import Follower
from orchestrator.cli.failures import Unreachable
from tests.cli.support import SERVER, Invoke, listing, problem

SUBSCRIPTION = {
    "id": "sub_1",
    "kind": "http",
    "target_url": "https://example.com/events",
    "task_id": None,
    "pattern": "core.task.#",
    "status": "paused",
    "status_reason": "nothing was delivered since Tuesday",
    "failures": 1200,
    "failing_since": "2026-11-21T08:30:00.000000Z",
    "retry_at": None,
    "created_at": "2026-11-21T08:30:00.000000Z",
    "updated_at": "2026-11-21T08:30:00.000000Z",
}
DELIVERY = {
    "event_id": "evt_1",
    "seq": 1204,
    "type": "core.task.shop.sync.failure.v1",
    "execution_id": "run-1",
    "status": "failed",
    "tries": 10,
    "due_at": None,
    "message": "try 10: HTTP 500",
    "created_at": "2026-11-21T08:30:00.000000Z",
    "ended_at": None,
}


def sent(router: respx.MockRouter) -> object:
    return json.loads(router.calls.last.request.content)


class TestSubscriptions:
    def test_create_tells_the_secret_once(self, server: respx.MockRouter, invoke: Invoke) -> None:
        answer = {**SUBSCRIPTION, "secret": "whsec_x"}
        server.post("/v1/subscriptions").mock(return_value=httpx.Response(201, json=answer))
        result = invoke("subscription", "create", "https://example.com/events", "--pattern", "core.task.#")
        assert sent(server) == {"target_url": "https://example.com/events", "pattern": "core.task.#"}
        assert "Secret, shown this once: whsec_x\n" in result.stdout
        result = invoke("subscription", "create", "https://example.com/e", "--secret", "whsec_y", "--json")
        assert sent(server) == {"target_url": "https://example.com/e", "pattern": "core.task.#", "secret": "whsec_y"}
        assert json.loads(result.stdout) == answer

    def test_list_and_show_say_what_is_wrong(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/subscriptions").mock(return_value=listing(SUBSCRIPTION))
        server.get("/v1/subscriptions/sub_1").respond(json={**SUBSCRIPTION, "pending": 17})
        listed, shown = invoke("subscription", "list").stdout, invoke("subscription", "show", "sub_1").stdout
        for text in (listed, shown):
            assert "nothing was delivered since Tuesday" in text
            assert "1,200" in text
        assert "17" in shown

    @pytest.mark.parametrize(("verb", "status"), [("pause", "paused"), ("resume", "active")])
    def test_pause_and_resume(self, verb: str, status: str, server: respx.MockRouter, invoke: Invoke) -> None:
        server.patch("/v1/subscriptions/sub_1").respond(json={**SUBSCRIPTION, "pending": 0})
        assert invoke("subscription", verb, "sub_1").exit_code == 0
        assert sent(server) == {"status": status}

    def test_delete_asks_first(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.delete("/v1/subscriptions/sub_1").respond(204)
        assert invoke("subscription", "delete", "sub_1").exit_code == 2
        assert not server.calls
        assert invoke("subscription", "delete", "sub_1", "--yes").stdout == "Deleted sub_1.\n"

    def test_replay_asks_until_all_was_seen(self, server: respx.MockRouter, invoke: Invoke) -> None:
        answers = [{"deliveries": 2000, "next_after": 2000}, {"deliveries": 5, "next_after": None}]
        server.post("/v1/subscriptions/sub_1/replay").mock(
            side_effect=[httpx.Response(200, json=answer) for answer in answers]
        )
        result = invoke("subscription", "replay", "sub_1", "--failed", "--since", "2026-11-21T08:30:00Z")
        assert result.stdout == "2,005 events are on their way again.\n"
        assert [json.loads(call.request.content)["after"] for call in server.calls] == [0, 2000]
        assert sent(server) == {"only_failed": True, "since": "2026-11-21T08:30:00Z", "after": 2000}

    def test_deliveries(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/subscriptions/sub_1/deliveries", params={"status": "failed"}).mock(
            return_value=listing(DELIVERY)
        )
        shown = invoke("subscription", "deliveries", "sub_1", "--status", "failed").stdout
        assert "try 10: HTTP 500" in shown
        assert "1,204" in shown

    def test_an_unknown_one(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/subscriptions/sub_2").mock(return_value=problem(404, "there is no subscription sub_2"))
        result = invoke("subscription", "show", "sub_2")
        assert (result.exit_code, "orchestrator subscription list" in result.stderr) == (3, True)


def event(seq: int) -> dict[str, object]:
    return {
        "id": f"evt_{seq}",
        "type": "core.task.shop.sync.failure.v1",
        "subject": f"run-{seq}",
        "time": "2026-11-21T08:30:00.000000Z",
        "sequence": str(seq),
        "data": {"message": "no\x1b[31m luck"},
    }


def block(seq: int) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (seq, json.dumps(event(seq)).encode())


class TestWatch:
    def test_each_event_is_a_line(self, server: respx.MockRouter, invoke: Invoke) -> None:
        stream = b"id: 6\n: still here\n\n" + block(7) + block(8)
        server.get("/v1/events", params={"pattern": "core.#", "after": "3"}).respond(
            content=stream, content_type="text/event-stream"
        )
        arguments = ("events", "watch", "--pattern", "core.#", "--after", "3", "--count", "2")
        lines = invoke(*arguments).stdout.splitlines()
        assert len(lines) == 2
        assert lines[0].split("  ")[:4] == [
            "2026-11-21 08:30:00Z",
            "7",
            "core.task.shop.sync.failure.v1",
            "run-7",
        ]
        assert "\x1b" not in lines[0]
        shown = invoke(*arguments, "--json").stdout.splitlines()
        assert [json.loads(line) for line in shown] == [event(7), event(8)]

    def test_what_breaks_off_is_taken_up_after_the_last_number(
        self, server: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Cut(httpx.SyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                whole = block(7)
                yield b"id: 6\n: still here\n\n" + whole[:9]
                yield whole[9:] + b"id: 8\n: still here\n\n" + block(9)[:20]
                raise httpx.ReadError("gone")

        server.get("/v1/events").mock(
            side_effect=[
                httpx.Response(200, stream=Cut()),
                httpx.ConnectError("refused"),
                httpx.Response(200, content=block(9)),
            ]
        )
        pauses: list[float] = []
        with ApiClient(SERVER, "orch_admin") as api:
            found = Follower(api, "#", None, now=lambda: 0.0, sleep=pauses.append).events()
            assert [next(found)["sequence"], next(found)["sequence"]] == ["7", "9"]
        asked = [call.request.url.params.get("after") for call in server.calls]
        assert (asked, pauses) == ([None, "8", "8"], [events.PAUSE_SECS] * 2)

    def test_a_server_that_stays_away_is_given_up(self, server: respx.MockRouter) -> None:
        server.get("/v1/events").mock(
            side_effect=[httpx.Response(200, content=block(1)), *[httpx.ConnectError("refused")] * 99]
        )
        times = iter(range(0, 1000, 10))
        with ApiClient(SERVER, "orch_admin") as api:
            found = Follower(api, "#", None, now=lambda: float(next(times)), sleep=lambda secs: None).events()
            assert next(found)["sequence"] == "1"
            with pytest.raises(Unreachable):
                next(found)
        assert 3 <= len(server.calls) <= 6

    def test_nobody_there_at_first_is_told_at_once(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/events").mock(side_effect=httpx.ConnectError("refused"))
        assert invoke("events", "watch").exit_code == 5
        assert len(server.calls) == 1
