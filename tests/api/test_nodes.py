from datetime import timedelta

from orchestrator.api.shapes import nodes as shapes
from orchestrator.service import nodes
from orchestrator.service.nodes import NodeStatus
from orchestrator.store.nodes import NodeFacts
from orchestrator.store.transaction import Transaction
from tests.api.doors import Api, accepted, conforms, refused

TIMEOUT = timedelta(seconds=10)


async def test_nodes_are_listed_the_last_heard_of_first(api: Api) -> None:
    def beats(tx: Transaction) -> None:
        for name in ("north", "south", "east"):
            facts = NodeFacts(f"{name}:1", name, "all", "0.0.1", f"http://{name}:8400")
            nodes.beat(tx, facts, NodeStatus.LIVE, TIMEOUT)
        tx.run("UPDATE nodes SET heartbeat_at = heartbeat_at - 11000000 WHERE name = 'north'")
        nodes.leave(tx, "east:1")

    await api.write(beats)
    found = accepted(await api.admin.get("/v1/nodes"))
    assert [(node["id"], node["status"]) for node in found["items"]] == [
        ("east:1", "stopped"),
        ("south:1", "live"),
        ("north:1", "lost"),
    ]
    assert found["next_cursor"] is None
    conforms(shapes.Node, found["items"][0])


async def test_they_are_nobody_elses_business(api_on_sqlite: Api) -> None:
    other = await api_on_sqlite.other_workspace()
    refused(await other.get("/v1/nodes"), 403, "forbidden")
