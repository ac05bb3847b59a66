"""`orchestrator serve` and `orchestrator db`: the settings they make, and how they end."""

import errno
import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli import database, serving
from orchestrator.domain.errors import DatabaseBusy, DatabaseOutdated, WrongMasterKey
from orchestrator.settings import Settings
from tests.cli.support import Invoke


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What the server was started with; it ends at once."""
    started: list[Settings] = []

    def serve(settings: Settings) -> int:
        started.append(settings)
        return 0

    monkeypatch.setattr(serving, "run_server", serve)
    return started


def raising(error: Exception) -> Callable[[Settings], int]:
    def serve(_settings: Settings) -> int:
        raise error

    return serve


class TestServe:
    def test_with_the_defaults(self, served: list[Settings], invoke: Invoke) -> None:
        assert invoke("serve").exit_code == 0
        assert served == [Settings()]

    def test_with_every_flag(self, served: list[Settings], invoke: Invoke) -> None:
        Path("other.toml").write_text("[engine]\nconcurrency = 7\n[server]\nport = 1\n", encoding="utf-8")
        flags = ["--host", "::1", "--port", "8401", "--data-dir", "data", "--database", "sqlite:///x.db"]
        assert invoke("serve", *flags, "--config", "other.toml", "--log-level", "debug").exit_code == 0
        [settings] = served
        assert (settings.server.host, settings.server.port) == ("::1", 8401)
        assert settings.server.data_dir == Path("data")
        assert settings.database.url == "sqlite:///x.db"
        assert settings.engine.concurrency == 7
        assert settings.log.level == "debug"

    def test_hands_on_the_servers_exit_code(self, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(serving, "run_server", lambda _settings: 3)
        assert invoke("serve").exit_code == 3

    def test_wrong_settings(self, served: list[Settings], invoke: Invoke) -> None:
        Path("config.toml").write_text("[server]\nprot = 1\n[engine]\nlease_secs = 0\n", encoding="utf-8")
        result = invoke("serve")
        assert result.exit_code == 2
        assert "the nearest is server.port" in result.stderr
        assert "engine.lease_secs" in result.stderr
        assert not served

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (DatabaseBusy("another server uses x"), "Error: another server uses x"),
            (WrongMasterKey("the master key is not the one"), "Error: the master key is not the one"),
            (OSError(errno.EADDRINUSE, "Address already in use"), "cannot listen on 127.0.0.1, port 8400"),
            (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "cannot listen on 127.0.0.1"),
        ],
    )
    def test_refused(self, error: Exception, said: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(serving, "run_server", raising(error))
        result = invoke("serve")
        assert result.exit_code == 4
        assert said in result.stderr

    def test_a_fault_of_ours_is_not_hidden(self, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(serving, "run_server", raising(OSError(errno.ENOSPC, "No space left")))
        with pytest.raises(OSError, match="No space left"):
            invoke("serve")


class TestDatabase:
    def test_upgrade(self, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[Settings] = []

        def upgrade(settings: Settings) -> str:
            seen.append(settings)
            return "0001"

        monkeypatch.setattr(database, "upgrade_database", upgrade)
        result = invoke("db", "upgrade", "--database", "postgres://h/d", "--data-dir", "data")
        assert result.stdout == "The database is at revision 0001.\n"
        assert seen[0].database.url == "postgresql://h/d"
        assert seen[0].server.data_dir == Path("data")

    def test_check(self, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(database, "check_database", lambda _settings: "0001")
        assert "revision 0001" in invoke("db", "check").stdout
        assert json.loads(invoke("db", "check", "--json").stdout) == {"revision": "0001"}

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (DatabaseBusy("a server has it"), "Stop the server first"),
            (DatabaseOutdated("the schema is older"), "Error: the schema is older"),
        ],
    )
    def test_refused(self, error: Exception, said: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(database, "check_database", raising(error))
        result = invoke("db", "check")
        assert result.exit_code == 4
        assert said in result.stderr

    def test_wrong_settings(self, invoke: Invoke) -> None:
        result = invoke("db", "check", "--database", "mysql://x")
        assert result.exit_code == 2
        assert "database.url (from the command line)" in result.stderr
