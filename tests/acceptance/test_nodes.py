"""Several nodes in processes of their own, on one PostgreSQL: roles, a rolling restart, the next version's schema."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.server import Server, running_sample, spawn, wait_for

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AIRPORTS = 28_298
# One transaction each: with the locks of several tables, it could meet a step in a deadlock.
EXPAND = (
    "ALTER TABLE workers ADD COLUMN of_the_next_version bigint",
    "ALTER TABLE executions ADD COLUMN of_the_next_version text DEFAULT 'x'",
    "ALTER TABLE calls ADD COLUMN of_the_next_version text",
    "INSERT INTO served_revisions VALUES ('9999')",
    "UPDATE alembic_version SET version_num = '9999'",
)
# Then a version that no longer serves this one.
CONTRACT = "DELETE FROM served_revisions WHERE revision <> '9999'"

pytestmark = pytest.mark.slow


def _environment(url: str, **more: str) -> dict[str, str]:
    return {
        "ORCHESTRATOR_DATABASE__URL": url,
        "ORCHESTRATOR_SECURITY__MASTER_KEY": "a long secret",
        "ORCHESTRATOR_ADMIN_TOKEN": "orch_of_the_operator",
        **more,
    }


@contextmanager
def _nodes(tmp_path: Path, url: str, *roles: dict[str, str]) -> Iterator[list[Server]]:
    """A node for each of these environments, on an upgraded database; ended with SIGTERM."""
    assert spawn(tmp_path / "upgrade.log", "orchestrator", "db", "upgrade", **_environment(url)).wait(timeout=60) == 0
    nodes = [Server(tmp_path / f"node{n}", environment=_environment(url, **role)) for n, role in enumerate(roles)]
    try:
        for node in nodes:
            node.directory.mkdir()
            (node.directory / "admin-token").write_text("orch_of_the_operator")
            node.start()
        yield nodes
    finally:
        for node in nodes:
            if node.process is not None and node.process.poll() is None:
                assert node.stop() == 0


def _imported_once(front: Server) -> None:
    counts = Counter(item["airport"]["external_id"] for item in front.collected())
    assert len(counts) == AIRPORTS
    assert set(counts.values()) == {1}


def test_an_api_node_launches_what_an_engine_node_runs(tmp_path: Path, postgres_url: str) -> None:
    api = {"ORCHESTRATOR_SERVER__ROLE": "api"}
    with (
        _nodes(tmp_path, postgres_url, api) as [front],
        running_sample(tmp_path, "sample_apps.catalog_import", SECRET) as app,
    ):
        engine = Server(
            tmp_path / "engine",
            environment=_environment(
                postgres_url,
                ORCHESTRATOR_SERVER__ROLE="engine",
                ORCHESTRATOR_SERVER__PUBLIC_URL=front.url,
                ORCHESTRATOR_WEBHOOK__ALLOW_PRIVATE_ADDRESSES="true",
            ),
        )
        engine.start()
        try:
            front.install(httpx.get(f"{app}/manifest.json").json(), SECRET)
            execution = front.launch("app_catalog_import")
            ended = front.ended(execution)
            assert ended["status"] == "succeeded", ended["message"]
            _imported_once(front)
            assert httpx.get(f"{engine.url}/v1/executions").status_code == 404
            assert httpx.get(f"{engine.url}/healthz").status_code == 200
            by_role = {node["role"]: node for node in front.get("/v1/nodes")["items"]}
            assert {role: node["status"] for role, node in by_role.items()} == {"api": "live", "engine": "live"}
            calls = front.get(f"/v1/executions/{execution}/calls", limit=500)["items"]
            assert {call["node"] for call in calls} == {by_role["engine"]["id"]}
        finally:
            assert engine.stop() == 0
        stopped = [node["status"] for node in front.get("/v1/nodes")["items"] if node["role"] == "engine"]
        assert stopped == ["stopped"]


def test_nodes_are_replaced_one_by_one_while_the_next_versions_schema_is_in_place(
    tmp_path: Path, postgres_url: str
) -> None:
    with (
        _nodes(tmp_path, postgres_url, {}, {}, {}) as nodes,
        running_sample(tmp_path, "sample_apps.catalog_import", SECRET) as app,
    ):
        front = nodes[0]
        front.install(httpx.get(f"{app}/manifest.json").json(), SECRET)
        execution = front.launch("app_catalog_import")
        wait_for(lambda: len(front.collected()) > AIRPORTS / 10, "a tenth of the import")
        with psycopg.connect(postgres_url, autocommit=True) as operator:
            for statement in EXPAND:
                operator.execute(statement)
        for node in nodes[1:]:
            assert node.stop() == 0
            node.start()

        ended = front.ended(execution)
        assert ended["status"] == "succeeded", ended["message"]
        _imported_once(front)
        calls = front.get(f"/v1/executions/{execution}/calls", limit=500)["items"]
        assert {call["outcome"] for call in calls} == {"applied"}, "a drain cuts nothing off"
        states = Counter(node["status"] for node in front.get("/v1/nodes")["items"])
        assert states == {"live": 3, "stopped": 2}

        assert httpx.get(f"{front.url}/readyz").status_code == 200
        with psycopg.connect(postgres_url, autocommit=True) as operator:
            operator.execute(CONTRACT)
        assert httpx.get(f"{front.url}/readyz").status_code == 503
