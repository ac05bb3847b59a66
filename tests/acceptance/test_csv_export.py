"""Users export their books: the sample's API and its worker, each a process with a working directory of its own."""

import csv
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from sample_apps.csv_export.library import Library
from tests.support.ports import free_port
from tests.support.server import ROOT, Server, running_server, spawn, wait_for

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MANIFEST = ROOT / "sample_apps" / "csv_export" / "manifest.json"
ADA, GRACE = 7, 8
HEARD_SECS = 30.0

pytestmark = pytest.mark.slow


@contextmanager
def running(log: Path, port: int | None, *arguments: str, **environment: str) -> Iterator[None]:
    """One of the sample's processes; its API is waited for."""
    process = spawn(log, "sample_apps.csv_export", *arguments, **environment)

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{port}/files", timeout=2).status_code == 401
        except httpx.TransportError:
            return False

    try:
        if port is not None:
            wait_for(is_up, "the API of the sample")
        yield
    finally:
        process.kill()
        process.wait(timeout=10)


@contextmanager
def application(server: Server, directory: Path) -> Iterator[dict[int, httpx.Client]]:
    """The sample's API and its worker; gives a client for each user."""
    server.install(json.loads(MANIFEST.read_text()), SECRET)
    places = ["--url", server.url, "--library", str(directory / "library.db"), "--shared", str(directory / "shared")]
    users = [arg for name, owner in (("ada", ADA), ("grace", GRACE)) for arg in ("--user", _user(server, name, owner))]
    worker = server.post("/v1/tokens", {"name": "printer", "role": "executor", "tasks": ["csv_export"]})["token"]
    port = free_port()
    with (
        running(directory / "api.log", port, "api", "--port", str(port), *places, *users),
        running(directory / "worker.log", None, "worker", *places, ORCHESTRATOR_TOKEN=worker),
        client_of(port, "ada") as ada,
        client_of(port, "grace") as grace,
    ):
        yield {ADA: ada, GRACE: grace}


def _user(server: Server, name: str, owner: int) -> str:
    asked = {"name": name, "role": "app", "app_id": "app_books", "owner_id": owner}
    return f"{name}:{owner}:{server.post('/v1/tokens', asked)['token']}"


def client_of(port: int, key: str) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}, timeout=30)


def asked(client: httpx.Client) -> int:
    answer = client.post("/exports")
    assert answer.status_code == 202, answer.text
    return int(answer.json()["export"])


def ended(client: httpx.Client, export: int) -> str:
    """Poll until the export has ended, as users do."""

    def probe() -> str | None:
        status = str(client.get(f"/exports/{export}").raise_for_status().json()["status"])
        return status if status in ("success", "failure") else None

    return wait_for(probe, f"the end of export {export}")


def rows(client: httpx.Client, filename: str) -> list[list[str]]:
    return list(csv.reader(client.get(f"/files/{filename}").raise_for_status().text.splitlines()))


def test_users_export_download_and_retry(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server, application(server, tmp_path) as users:
        ada, grace = users[ADA], users[GRACE]
        library = Library(tmp_path / "library.db")
        library.add_book(ADA, 'L\'Étranger, "2"', "Albert Camus")

        export = asked(ada)
        assert ended(ada, export) == "success"
        [file] = ada.get("/files").json()
        head, *books = rows(ada, file["filename"])
        assert head == ["title", "author", "isbn", "reading_status"]
        assert [book[0] for book in books] == ["Middlemarch", 'L\'Étranger, "2"']

        # Grace sees neither the export nor the file.
        assert grace.get(f"/exports/{export}").status_code == 404
        assert grace.post(f"/exports/{export}/retry").status_code == 404
        assert grace.get(f"/files/{file['filename']}").status_code == 404
        assert grace.get("/files").json() == []

        # The shared folder is away: that shows at once, and can be retried.
        shutil.move(tmp_path / "shared", tmp_path / "away")
        failing = asked(grace)
        assert ended(grace, failing) == "failure"
        assert grace.get("/files").json() == []
        shutil.move(tmp_path / "away", tmp_path / "shared")
        assert grace.post(f"/exports/{failing}/retry").status_code == 200
        assert ended(grace, failing) == "success"
        assert len(grace.get("/files").json()) == 1
        assert grace.post(f"/exports/{failing}/retry").status_code == 409


def test_foreign_programs_hear_and_see_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    environment = {"ORCHESTRATOR_DATABASE__URL": postgres_url, "ORCHESTRATOR_SECURITY__MASTER_KEY": "a long secret"}
    assert spawn(tmp_path / "upgrade.log", "orchestrator", "db", "upgrade", **environment).wait(timeout=60) == 0
    with (
        running_server(tmp_path / "data", **environment) as server,
        application(server, tmp_path) as users,
        psycopg.connect(postgres_url, autocommit=True) as listener,
    ):
        listener.execute("LISTEN task_created")
        exports = [asked(users[ADA]) for _ in range(3)]
        heard: list[Any] = [notice.payload for notice in listener.notifies(timeout=HEARD_SECS, stop_after=3)]
        assert heard == [str(export) for export in exports]
        assert [ended(users[ADA], export) for export in exports] == ["success"] * 3
        seen = listener.execute("SELECT id, type, status, created_by FROM tasks ORDER BY id").fetchall()
        assert seen == [(export, "csv_export", "success", ADA) for export in exports]
        with pytest.raises(psycopg.Error):
            listener.execute("UPDATE tasks SET status = 'fresh'")
