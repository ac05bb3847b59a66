"""The product's main job with real processes, and what must survive a power cut in the middle of it."""

from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.support.server import Server, running_sample, running_server, wait_for

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AIRPORTS = 28_298

pytestmark = pytest.mark.slow


def test_a_killed_server_resumes_and_every_item_arrives_once(tmp_path: Path) -> None:
    with (
        running_sample(tmp_path, "sample_apps.catalog_import", SECRET) as app,
        running_server(tmp_path / "data") as server,
    ):
        server.install(httpx.get(f"{app}/manifest.json").json(), SECRET)
        execution = server.launch("app_catalog_import")

        for share in (0.2, 0.5):
            wait_for(lambda share=share: _imported(server, execution) > AIRPORTS * share, "a part of the import")  # type: ignore[misc]
            server.kill()
            server.start()

        ended = server.ended(execution)
        assert ended["status"] == "succeeded", ended["message"]
        counts = Counter(item["airport"]["external_id"] for item in server.collected())
        assert len(counts) == AIRPORTS
        assert set(counts.values()) == {1}
        assert server.get("/v1/apps/app_catalog/state") == {"state": {"imported": AIRPORTS}}
        assert {call["outcome"] for call in _calls(server, execution)} <= {"applied", "lost"}


def test_sigterm_drains(tmp_path: Path) -> None:
    with (
        running_sample(tmp_path, "sample_apps.catalog_import", SECRET) as app,
        running_server(tmp_path / "data") as server,
    ):
        server.install(httpx.get(f"{app}/manifest.json").json(), SECRET)
        execution = server.launch("app_catalog_import")
        wait_for(lambda: _imported(server, execution) > 1000, "the import to be under way")

        assert server.stop() == 0
        server.start()

        assert server.ended(execution)["status"] == "succeeded"
        assert {call["outcome"] for call in _calls(server, execution)} == {"applied"}


def test_one_data_directory_admits_one_server(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        second = Server(tmp_path / "data")
        with pytest.raises(AssertionError, match="another server uses"):
            second.start()
        assert second.process is not None
        assert second.process.wait(timeout=10) == 4
        assert server.request("GET", "/readyz").status_code == 200


def test_secrets_on_disk_are_their_owners_only(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        server.install({"id": "app_x", "name": "X", "webhook_endpoint": "http://127.0.0.1:9/", "tasks": []}, SECRET)
        for name in ("admin-token", "master-key"):
            assert (server.directory / name).stat().st_mode & 0o777 == 0o600
        files = b"".join(path.read_bytes() for path in server.directory.glob("orchestrator.db*"))
        assert SECRET.encode() not in files
        assert server.token.encode() not in files


def _imported(server: Server, execution: str) -> int:
    workers = server.execution(execution)["workers"]
    return sum(int(worker["progress"]["current"]) for worker in workers if worker["progress"])


def _calls(server: Server, execution: str) -> list[dict[str, object]]:
    calls: list[dict[str, object]] = []
    cursor = None
    while True:
        page = server.get(f"/v1/executions/{execution}/calls", limit=500, **({"cursor": cursor} if cursor else {}))
        calls += page["items"]
        cursor = page["next_cursor"]
        if not cursor:
            return calls
