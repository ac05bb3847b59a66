"""The same program on PostgreSQL: set up by an operator, killed, resumed by the lease."""

from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.support.server import Server, running_sample, running_server, spawn, wait_for

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AIRPORTS = 28_298
SHORT_LEASE = {"ORCHESTRATOR_WEBHOOK__TIMEOUT_SECS": "2", "ORCHESTRATOR_ENGINE__LEASE_SECS": "8"}

pytestmark = pytest.mark.slow


def _environment(url: str) -> dict[str, str]:
    return {"ORCHESTRATOR_DATABASE__URL": url, "ORCHESTRATOR_SECURITY__MASTER_KEY": "a long secret", **SHORT_LEASE}


def test_a_killed_server_on_postgresql_resumes_and_every_item_arrives_once(tmp_path: Path, postgres_url: str) -> None:
    environment = _environment(postgres_url)
    assert spawn(tmp_path / "upgrade.log", "orchestrator", "db", "upgrade", **environment).wait(timeout=60) == 0
    with (
        running_sample(tmp_path, "sample_apps.catalog_import", SECRET) as app,
        running_server(tmp_path / "data", **environment) as server,
    ):
        server.install(httpx.get(f"{app}/manifest.json").json(), SECRET)
        execution = server.launch("app_catalog_import")
        wait_for(lambda: len(server.collected()) > AIRPORTS / 3, "a third of the import")
        server.kill()
        server.start()

        ended = server.ended(execution)
        assert ended["status"] == "succeeded", ended["message"]
        counts = Counter(item["airport"]["external_id"] for item in server.collected())
        assert len(counts) == AIRPORTS
        assert set(counts.values()) == {1}


def test_it_says_what_is_missing(tmp_path: Path, postgres_url: str) -> None:
    for environment, advice in (
        (_environment(postgres_url), "orchestrator db upgrade"),
        ({"ORCHESTRATOR_DATABASE__URL": "postgresql://nobody@127.0.0.1:1/none"}, "database"),
    ):
        server = Server(tmp_path / "data", environment=environment)
        with pytest.raises(AssertionError, match=advice):
            server.start()
        assert server.process is not None
        assert server.process.wait(timeout=10) in (4, 5)


def test_another_master_key_is_refused(tmp_path: Path, postgres_url: str) -> None:
    environment = _environment(postgres_url)
    assert spawn(tmp_path / "upgrade.log", "orchestrator", "db", "upgrade", **environment).wait(timeout=60) == 0
    with running_server(tmp_path / "data", **environment):
        pass
    other = Server(tmp_path / "data", environment={**environment, "ORCHESTRATOR_SECURITY__MASTER_KEY": "another"})
    with pytest.raises(AssertionError, match="master key"):
        other.start()
    assert other.process is not None
    assert other.process.wait(timeout=10) == 4
