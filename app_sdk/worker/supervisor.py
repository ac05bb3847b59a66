"""A worker: it starts its processes, registers what they declare, and works until it is told to stop."""

import asyncio
import logging
import os
import re
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app_sdk.worker.patience import Stop, again, until
from app_sdk.worker.process import ChildDiedError, ChildProcess
from app_sdk.worker.server import Server
from app_sdk.worker.slot import HEARTBEATS, Duty, LoadError, Slot

DEFAULT_GRACE_SECS = 25.0
DEFAULT_LOST_AFTER_SECS = 60.0
MOST_TASKS = 500
_log = logging.getLogger("app_sdk.worker")


class WorkerError(Exception):
    """The worker cannot begin: the message tells why."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a worker serves, for which server, and how.

    `modules`: what is declared in them and beneath is served. `app_id`: under which app it is registered; made from the
    top package's name, where none is given. `grace_secs`: how long running tasks have after SIGTERM. A worker that has
    been silent for `lost_after_secs` is lost, and with it what it was at.
    """

    modules: Sequence[str]
    url: str
    token: str | None = None
    processes: int = field(default_factory=lambda: os.cpu_count() or 1)
    app_id: str | None = None
    grace_secs: float = DEFAULT_GRACE_SECS
    lost_after_secs: float = DEFAULT_LOST_AFTER_SECS


def run_worker(options: WorkerOptions) -> None:
    """Work until SIGTERM or SIGINT; a second one does not wait for running tasks.

    Raises WorkerError, OrchestratorError for a registration that is refused, RefusedError for a token that no longer
    counts.
    """
    try:
        asyncio.run(_Worker(options).run())
    except ExceptionGroup as several:
        # All of its places meet the same refusal.
        raise several.exceptions[0] from several


class _Worker:
    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._stop = Stop()

    async def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._end)
        try:
            started = await until(self._stop.asked, self._start())
        except LoadError as error:
            raise WorkerError(str(error)) from error
        if started is None:
            return
        first, declared = started
        try:
            _check(declared, self._options.modules)
            async with Server(self._options.url, self._options.token) as server:
                await self._serve(server, first, declared)
        finally:
            await first.end()

    async def _serve(self, server: Server, first: ChildProcess, declared: Mapping[str, Mapping[str, Any]]) -> None:
        app_id = self._options.app_id or app_id_of(self._options.modules[0])
        timeout = {"inProgressTimeout": round(self._options.lost_after_secs * 1000)}
        tasks = [{"id": f"{app_id}_{name}", **entry, **timeout} for name, entry in declared.items()]
        asked = self._stop.asked
        await until(asked, again(lambda: server.register(app_id, tasks), "registers its tasks", asked))
        for name in sorted(declared):
            _log.info("serves %s", name)
        duty = Duty(
            server=server,
            tasks={f"{app_id}_{name}": name for name in declared},
            name=f"{socket.gethostname()}:{os.getpid()}",
            heartbeat_secs=self._options.lost_after_secs / HEARTBEATS,
            stop=self._stop,
            start=self._another,
        )
        async with asyncio.TaskGroup() as group:
            for number in range(self._options.processes):
                group.create_task(Slot(duty, None if number else first).run())

    async def _another(self) -> ChildProcess:
        child, _ = await self._start()
        return child

    async def _start(self) -> tuple[ChildProcess, dict[str, Any]]:
        """A process, and what it declares by name. Raises LoadError, OSError."""
        environment = {"ORCHESTRATOR_URL": self._options.url}
        if self._options.token:
            environment["ORCHESTRATOR_TOKEN"] = self._options.token
        child = await ChildProcess.start(self._options.modules, environment)
        try:
            said = await child.hear()
        except ChildDiedError as death:
            raise LoadError(f"the tasks cannot be loaded: {death}") from death
        except asyncio.CancelledError:
            await child.end()
            raise
        if "broken" in said:
            await child.end()
            raise LoadError(f"the tasks cannot be loaded: {said['broken']}")
        return child, said["declared"]

    def _end(self) -> None:
        if self._stop.asked.is_set():
            self._stop.hurried.set()
            return
        _log.info("stops; running tasks have %g s", self._options.grace_secs)
        self._stop.asked.set()
        asyncio.get_running_loop().call_later(self._options.grace_secs, self._stop.hurried.set)


def app_id_of(module: str) -> str:
    """The app that the tasks of a module belong to: its top package, as ids of apps are written."""
    return "app_" + re.sub(r"[^a-z0-9]", "", module.partition(".")[0].lower())


def _check(declared: Mapping[str, Any], modules: Sequence[str]) -> None:
    if not declared:
        raise WorkerError(f"no task is declared in {', '.join(modules)}")
    if len(declared) > MOST_TASKS:
        raise WorkerError(f"{len(declared)} tasks are declared, and a worker serves {MOST_TASKS}: divide the modules")
