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

from app_sdk.worker.process import ChildDiedError, ChildProcess
from app_sdk.worker.server import Server
from app_sdk.worker.slot import Duty, Slot, Stop, again, until

DEFAULT_GRACE_SECS = 25.0
DEFAULT_LOST_AFTER_SECS = 60.0
_HEARTBEATS = 4
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
        first, declared = await self._start()
        try:
            if not declared:
                raise WorkerError(f"no task is declared in {', '.join(self._options.modules)}")
            async with Server(self._options.url, self._options.token) as server:
                await self._serve(server, first, declared)
        finally:
            await first.end()

    async def _serve(self, server: Server, first: ChildProcess, declared: Mapping[str, Mapping[str, Any]]) -> None:
        app_id = self._options.app_id or app_id_of(next(iter(declared)))
        entries = {f"{app_id}_{name}": entry for name, entry in declared.items()}
        timeout = {"inProgressTimeout": round(self._options.lost_after_secs * 1000)}
        tasks = [{"id": id_, **entry, **timeout} for id_, entry in entries.items()]
        asked = self._stop.asked
        await until(asked, again(lambda: server.register(app_id, tasks), "registers its tasks", asked))
        for name in sorted(declared):
            _log.info("serves %s", name)
        name = f"{socket.gethostname()}:{os.getpid()}"
        names = {id_: str(entry["name"]) for id_, entry in entries.items()}
        duty = Duty(server, names, name, self._options.lost_after_secs / _HEARTBEATS, self._stop)
        others = [(await self._start())[0] for _ in range(self._options.processes - 1)]
        async with asyncio.TaskGroup() as group:
            for child in (first, *others):
                group.create_task(Slot(duty, child, self._another).run())

    async def _another(self) -> ChildProcess:
        child, _ = await self._start()
        return child

    async def _start(self) -> tuple[ChildProcess, dict[str, Any]]:
        """A process, and what it declares by name. Raises WorkerError."""
        environment = {"ORCHESTRATOR_URL": self._options.url}
        if self._options.token:
            environment["ORCHESTRATOR_TOKEN"] = self._options.token
        child = await ChildProcess.start(self._options.modules, environment)
        try:
            said = await child.hear()
        except ChildDiedError as death:
            raise WorkerError(f"the tasks cannot be loaded: {death}") from death
        if "broken" in said:
            await child.end()
            raise WorkerError(f"the tasks cannot be loaded: {said['broken']}")
        return child, said["declared"]

    def _end(self) -> None:
        if self._stop.asked.is_set():
            self._stop.hurried.set()
            return
        _log.info("stops; running tasks have %g s", self._options.grace_secs)
        self._stop.asked.set()
        asyncio.get_running_loop().call_later(self._options.grace_secs, self._stop.hurried.set)


def app_id_of(name: str) -> str:
    """The app that a task of this name belongs to: its top package, as ids of apps are written."""
    return "app_" + re.sub(r"[^a-z0-9]", "", name.partition(".")[0].lower())
