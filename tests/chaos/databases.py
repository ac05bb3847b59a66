"""Databases for chaos: a SQLite file, or a PostgreSQL whose server can be restarted and killed."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psycopg

from orchestrator.store import schema
from orchestrator.store.database import DatabaseOptions
from tests.support.postgres import PostgresServer, running_postgres

Kind = Literal["sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")

_PATIENCE_SECS = 60.0


@dataclass(frozen=True, slots=True)
class PostgresControl:
    """Does to a running PostgreSQL what operators and accidents do."""

    server: PostgresServer
    programs: Path

    @property
    def postmaster(self) -> int:
        return _postmaster(self.server.directory)

    def restart(self, mode: Literal["fast", "immediate"]) -> None:
        """Stop it, as asked by the administrator (fast) or as in a crash (immediate), and start it again."""
        self._pg_ctl("stop", "-w", "-m", mode)
        self._start()

    def kill(self) -> None:
        """Kill the postmaster alone; its children notice and end. Then start it again."""
        pid = self.postmaster
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + _PATIENCE_SECS
        while _is_alive(pid):
            assert time.monotonic() < until, "the postmaster does not end"
            time.sleep(0.01)
        self._start()

    def ensure_running(self) -> bool:
        """Start it if it has ended on its own; True if so."""
        file = self.server.directory / "postmaster.pid"
        if file.exists() and _is_alive(self.postmaster):
            return False
        self._start()
        return True

    def _start(self) -> None:
        until = time.monotonic() + _PATIENCE_SECS
        # After a kill the children of the old postmaster hold its memory for a moment, and a start is refused.
        while not self._pg_ctl("start", "-w", "-t", "60", is_sure=False):
            assert time.monotonic() < until, "PostgreSQL does not start again"
            time.sleep(0.05)

    def _pg_ctl(self, *arguments: str, is_sure: bool = True) -> bool:
        data = self.server.directory
        owner = data.stat()
        # Root lends the server another user, and needs nobody's leave for it.
        user, group = (None, None) if os.geteuid() else (owner.st_uid, owner.st_gid)
        with (data.parent / "log").open("ab") as log:
            done: subprocess.CompletedProcess[bytes] = subprocess.run(
                [str(self.programs / "pg_ctl"), "-D", str(data), "-s", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=data,
                check=False,
                timeout=_PATIENCE_SECS,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )
        assert not (is_sure and done.returncode), (data.parent / "log").read_text(errors="replace")[-3000:]
        return done.returncode == 0


@contextmanager
def controlled_postgres() -> Iterator[PostgresControl]:
    """A PostgreSQL of its own, with autovacuum as in real life."""
    with running_postgres() as server:
        programs = Path(f"/proc/{_postmaster(server.directory)}/exe").readlink().parent
        with psycopg.connect(server.url("postgres"), autocommit=True) as operator:
            operator.execute("ALTER SYSTEM SET autovacuum = on")
            operator.execute("SELECT pg_reload_conf()")
        yield PostgresControl(server, programs)


@contextmanager
def fresh_database(kind: Kind, directory: Path) -> Iterator[str]:
    """The URL of an empty database with the schema."""
    if kind == "sqlite":
        url = f"sqlite:///{directory / 'orchestrator.db'}"
        schema.upgrade(DatabaseOptions(url))
        yield url
        return
    with controlled_postgres() as control:
        url = control.server.url("postgres")
        schema.upgrade(DatabaseOptions(url))
        yield url


def _postmaster(data: Path) -> int:
    return int((data / "postmaster.pid").read_text().split()[0])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
