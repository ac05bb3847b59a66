"""Workers in processes of their own, and the tasks of `background`, sent for the application acme."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app_sdk import TaskStatus, get_status, send_task
from tests.support.server import Server, running_server, spawn, wait_for

MODULE = "tests.acceptance.background.tasks"
ACME = "acme"
LOST_AFTER_SECS = 2


@dataclass(slots=True)
class Worker:
    """A worker in a process of its own."""

    log: Path
    process: subprocess.Popen[bytes]

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def ended(self) -> int:
        return self.process.wait(timeout=30)

    def has_said(self, words: str) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return words in self.log.read_text()


@contextmanager
def working(log: Path, *options: str, module: str = MODULE, **environment: str) -> Iterator[Worker]:
    """A worker that has registered its tasks. Its own processes end with it."""
    command = ["orchestrator", "worker", module, "--processes", "2", "--lost-after", str(LOST_AFTER_SECS), *options]
    worker = Worker(log, spawn(log, *command, **environment))
    try:
        wait_for(lambda: worker.has_said("serves "), "the worker's registration")
        yield worker
    finally:
        worker.process.kill()
        worker.ended()


@contextmanager
def serving(directory: Path) -> Iterator[Server]:
    """A server that tasks are sent to."""
    with running_server(directory) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORCHESTRATOR_URL", server.url)
        patch.setenv("ORCHESTRATOR_TOKEN", server.token)
        yield server


def sent(name: str, *args: Any, **kwargs: Any) -> TaskStatus:
    return send_task(f"{MODULE}.{name}", ACME, *args, **kwargs)


def ended(status: TaskStatus) -> TaskStatus:
    assert status.status in ("PENDING", "STARTED")

    def probe() -> TaskStatus | None:
        seen = get_status(status.id, ACME)
        return seen if seen.is_completed() else None

    return wait_for(probe, f"the end of {status.id}")


def has_lines(path: Path, count: int) -> Callable[[], bool]:
    return lambda: path.exists() and len(path.read_text().splitlines()) == count
