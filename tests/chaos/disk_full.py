"""A disk that fills up under load, and has room again: nothing is lost, nothing corrupt, and the server goes on.

Where mounting is allowed (root, or a container of one's own), the database lies on a small tmpfs that a ballast file
fills to the last byte. Elsewhere SQLite's server is forbidden to let any file grow (RLIMIT_FSIZE), which the file
system refuses in the same place; and PostgreSQL is left out, which the report says.
"""

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import httpx

from orchestrator.store import schema
from orchestrator.store.database import DatabaseOptions
from tests.chaos.boots import Boot, Zygote, running_zygote
from tests.chaos.clock import now
from tests.chaos.databases import Kind, PostgresControl, controlled_postgres
from tests.chaos.outcome import Outcome
from tests.chaos.stage import APP_ID, SECRET, TASK_ID, TOKEN, Stage, judge, open_stage, request_times, tail, wait_ready
from tests.history.witness.client import RecordingClient
from tests.support.ports import free_port

DISK_MIB = {"sqlite": 32, "postgresql": 640}
FELT_SECS = 60.0
REST_SECS = 300.0
# What was in flight is fenced or applied by then; after that everything must work for a while.
FELT_AFTER_SECS = 1.0
CALM_SECS = 0.5
ENOUGH_UNFINISHED = 30
_PLAN = {"helpers": 9, "rounds": 1, "steps": 4, "items": 20, "keys": 2, "think_secs": 0.005}


@dataclass(slots=True)
class _Disk:
    """`fill` leaves no room, `free` gives it back."""

    place: Path
    fill: Callable[[Boot], None]
    free: Callable[[Boot], None]


@dataclass(slots=True)
class _Filling:
    """A server on that disk, and the client that keeps it busy."""

    stage: Stage
    zygote: Zygote
    port: int
    client: RecordingClient
    boot: Boot
    outcome: Outcome
    control: PostgresControl | None
    launches: int = 0
    freed: list[float] = field(default_factory=list)

    def launch(self) -> bool:
        """True if it was acknowledged."""
        self.launches += 1
        id_ = f"e{self.launches}"
        return self.client.launch(TASK_ID, {**_PLAN, "seed": self.launches}, key=id_, id=id_).outcome == "ok"

    def go_on(self) -> None:
        """The server waits for room, or has ended in good order; then its supervisor starts it again."""
        if self.control is not None and self.control.ensure_running():
            self.outcome.counts["PostgreSQL had to be started again"] += 1
        if not self.boot.is_up:
            assert (self.boot.status or 0) > 0, f"it crashed with {self.boot.status}:\n{tail(self.boot.log)}"
            self.outcome.counts["the server had to be started again"] += 1
            self.boot = self.zygote.boot(self.stage.environment(self.port), self.boot.log)
        assert wait_ready(self.port, self.boot, FELT_SECS), tail(self.boot.log)


def run(kind: Kind, times: int, seed: int, directory: Path) -> Outcome:
    """Fill the disk so many times. Raises AssertionError if that is not felt, or if it does not go on."""
    name = f"{seed}:disk:{kind}:{times}"
    outcome, dice, began = Outcome("disk", kind, name), random.Random(name), now()
    with _disk(kind) as disk:
        if disk is None:
            outcome.counts["left out: mounting is not allowed here"] = 1
            return outcome
        with (
            _database(kind, disk.place) as (url, control),
            open_stage(directory, url) as stage,
            running_zygote(directory) as zygote,
        ):
            port = free_port()
            boot = zygote.boot(stage.environment(port), directory / "server.log")
            client = RecordingClient(f"http://127.0.0.1:{port}", TOKEN, directory / "client.jsonl")
            filling = _Filling(stage, zygote, port, client, boot, outcome, control)
            _install(filling)
            for _ in range(times):
                _fill_and_free(filling, disk, dice)
            outcome.times["rest"] = [stage.rest(REST_SECS)]
            filling.boot.signal(signal.SIGTERM)
            assert filling.boot.wait() == 0, tail(filling.boot.log)
            if kind == "sqlite":
                [(found,)] = stage.rows("PRAGMA integrity_check")
                outcome.failure = "" if found == "ok" else f"integrity_check: {found}"
            outcome.take(judge(stage))
            requests = request_times(directory / "app.jsonl")
            outcome.times["room to next call"] = [
                min(at for at in requests if at > freed) - freed for freed in filling.freed
            ]
    outcome.took_secs = now() - began
    return outcome


def _install(filling: _Filling) -> None:
    assert wait_ready(filling.port, filling.boot, 60), tail(filling.boot.log)
    manifest = httpx.get(f"{filling.stage.app}/manifest.json", params={"id": APP_ID}, timeout=10).json()
    assert filling.client.install(manifest, SECRET).outcome == "ok"
    filling.stage.learn_secret(f"http://127.0.0.1:{filling.port}")


def _fill_and_free(filling: _Filling, disk: _Disk, dice: random.Random) -> None:
    assert filling.launch()
    time.sleep(dice.uniform(0.05, 0.5))
    caught_up = now() + REST_SECS
    while filling.stage.unfinished() > ENOUGH_UNFINISHED:
        assert now() < caught_up, "it does not catch up with what it was given"
        time.sleep(0.05)
    began = now()
    disk.fill(filling.boot)
    try:
        while filling.launch():
            assert now() < began + FELT_SECS, "the disk is full, and nothing is felt of it"
        time.sleep(dice.uniform(0, 1))
    finally:
        disk.free(filling.boot)
    filling.freed.append(now())
    filling.go_on()
    # One more, so that there is a call to be waited for.
    assert filling.launch()
    filling.stage.faults.note(began - 0.1, now() + FELT_AFTER_SECS, "disk full")
    filling.outcome.faults["disk full"] += 1
    time.sleep(FELT_AFTER_SECS + CALM_SECS)


@contextmanager
def _disk(kind: Kind) -> Iterator[_Disk | None]:
    """A small tmpfs; without the right to mount one, a limit on the growth of the server's files."""
    # PostgreSQL's user must be able to go through it.
    place = Path(tempfile.mkdtemp(prefix="chaos-disk-", dir="/tmp"))
    place.chmod(0o755)
    size = f"size={DISK_MIB[kind]}m,mode=0755"
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "chaos", str(place)], check=False, capture_output=True
    )
    is_mounted = bool(mounted) and mounted.returncode == 0  # type: ignore[union-attr]
    try:
        if is_mounted:
            yield _Disk(place, lambda _boot: _fill(place), lambda _boot: (place / "ballast").unlink())
        elif kind == "sqlite":
            yield _Disk(place, lambda boot: _limit(boot, 1024), lambda boot: _limit(boot, resource.RLIM_INFINITY))
        else:
            yield None
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)
        shutil.rmtree(place, ignore_errors=True)


def _fill(place: Path) -> None:
    ballast = os.open(place / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for size in (1 << 20, 4096):
            _write_all(ballast, b"\0" * size)
    finally:
        os.close(ballast)


def _write_all(file: int, block: bytes) -> None:
    try:
        while os.write(file, block):
            pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def _limit(boot: Boot, size: int) -> None:
    # The hard limit stays where it is, so that the soft one can be raised again.
    _, hard = resource.prlimit(boot.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(boot.pid, resource.RLIMIT_FSIZE, (size, hard))


@contextmanager
def _database(kind: Kind, place: Path) -> Iterator[tuple[str, PostgresControl | None]]:
    if kind == "sqlite":
        url = f"sqlite:///{place / 'orchestrator.db'}"
        schema.upgrade(DatabaseOptions(url))
        yield url, None
        return
    with mock.patch.dict(os.environ, TMPDIR=str(place)), mock.patch.object(tempfile, "tempdir", None):
        postgres = controlled_postgres()
        control = postgres.__enter__()
    try:
        url = control.server.url("postgres")
        schema.upgrade(DatabaseOptions(url))
        yield url, control
    finally:
        control.ensure_running()
        postgres.__exit__(None, None, None)
