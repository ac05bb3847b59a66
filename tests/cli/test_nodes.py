"""`orchestrator node`."""

import json

import respx

from tests.cli.support import Invoke, listing

NODE = {
    "id": "north:0198c5a2",
    "name": "north",
    "role": "engine",
    "version": "0.1.0",
    "url": "http://north:8400",
    "status": "lost",
    "calls": 1200,
    "started_at": "2026-11-21T08:30:00.000000Z",
    "heartbeat_at": "2026-11-21T08:31:00.000000Z",
}


def test_list(server: respx.MockRouter, invoke: Invoke) -> None:
    server.get("/v1/nodes").mock(return_value=listing(NODE))
    shown = invoke("node", "list").stdout
    for text in ("north:0198c5a2", "engine", "lost", "1,200", "2026-11-21 08:31:00Z", "http://north:8400"):
        assert text in shown
    assert json.loads(invoke("node", "list", "--json").stdout)["items"] == [NODE]
