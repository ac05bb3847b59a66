"""Moving to PostgreSQL with real processes: a server on SQLite is killed amid its work."""

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.server import ROOT, Server, running_sample, running_server, spawn, wait_for

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AIRPORTS = 28_298
EVERY = timedelta(seconds=1)

pytestmark = pytest.mark.slow


def test_a_run_that_began_on_sqlite_ends_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    upgrade = spawn(tmp_path / "upgrade.log", "orchestrator", "db", "upgrade", "--database", postgres_url)
    assert upgrade.wait(timeout=60) == 0
    with (
        running_sample(tmp_path, "sample_apps.catalog_import", SECRET) as catalog,
        running_sample(tmp_path, "sample_apps.hello", SECRET) as hello,
        running_server(tmp_path / "data") as server,
    ):
        server.install(httpx.get(f"{catalog}/manifest.json").json(), SECRET)
        server.install(_every_second(httpx.get(f"{hello}/manifest.json").json()), SECRET)
        execution = server.launch("app_catalog_import")
        wait_for(lambda: len(server.collected()) > AIRPORTS / 3, "a third of the import")
        before = wait_for(lambda: _slots(server), "a slot of the schedule")
        token = server.token

        refused = _copy(server, postgres_url)
        assert refused.returncode == 4
        assert "Stop the server first" in refused.stderr
        server.kill()
        copied = _copy(server, postgres_url, "--json")
        assert copied.returncode == 0, copied.stderr
        assert json.loads(copied.stdout)["rows"]["workers"] >= 10

        # At the same address, as an operator would have it: the apps' own calls to the server go on too.
        server.environment = {
            "ORCHESTRATOR_DATABASE__URL": postgres_url,
            "ORCHESTRATOR_SECURITY__MASTER_KEY": (server.directory / "master-key").read_text().strip(),
        }
        server.start()
        assert server.get("/v1/status")["database"] == "postgresql"
        _ends_with_every_item_once(server, execution)
        assert server.token == token
        after = wait_for(lambda: _launched_since(server, before), "the slots after the move")
        assert len(set(after)) == len(after)
        assert {(slot - before[0]) % EVERY for slot in after} == {timedelta()}
        assert server.ended(server.launch("app_hello_greet"))["status"] == "succeeded"


def _ends_with_every_item_once(server: Server, execution: str) -> None:
    ended = server.ended(execution)
    assert ended["status"] == "succeeded", ended["message"]
    counts = Counter(item["airport"]["external_id"] for item in server.collected())
    assert len(counts) == AIRPORTS
    assert set(counts.values()) == {1}
    assert server.get("/v1/apps/app_catalog/state") == {"state": {"imported": AIRPORTS}}


def _every_second(manifest: dict[str, Any]) -> dict[str, Any]:
    [task] = manifest["tasks"]
    schedule = {"interval_secs": EVERY.total_seconds()}
    return {**manifest, "tasks": [{**task, "is_cron": True, "schedule": schedule}]}


def _slots(server: Server) -> list[datetime]:
    """The slots that were launched, latest first."""
    page = server.get("/v1/apps/app_hello/tasks/app_hello_greet/occurrences", limit=500)
    return [datetime.fromisoformat(row["slot_at"]) for row in page["items"] if row["outcome"] == "launched"]


def _launched_since(server: Server, before: list[datetime]) -> list[datetime] | None:
    slots = _slots(server)
    return slots if len(slots) > len(before) + 1 and set(before) <= set(slots) else None


def _copy(server: Server, target: str, *flags: str) -> subprocess.CompletedProcess[str]:
    source = f"sqlite:///{server.directory / 'orchestrator.db'}"
    return subprocess.run(
        [sys.executable, "-m", "orchestrator", "db", "copy", source, target, *flags],
        cwd=ROOT,
        env=dict(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
