"""One of a worker's places: it fetches a task, has its process run it, says that it is alive, and how it ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app_sdk.worker.patience import Stop, again, until
from app_sdk.worker.process import ChildDiedError, ChildProcess
from app_sdk.worker.server import AwayError, RefusedError, Server

HEARTBEATS = 4
"""So many in the time after which a silent worker is lost."""

_MOST_HEARD = 100
_RESTART_PAUSES_SECS = (0.5, 2.0, 10.0)
# What ends a claim; of other refusals, a claim may survive.
_LOST = frozenset({"stale-exec-id", "wrong-status", "execution-is-failing", "not-found"})
_log = logging.getLogger("app_sdk.worker")


class LoadError(Exception):
    """The tasks cannot be loaded: the message tells why."""


@dataclass(frozen=True, slots=True)
class Duty:
    """What every place of a worker has to do. `tasks`: the names by the ids of the definitions that are asked for."""

    server: Server
    tasks: Mapping[str, str]
    name: str
    heartbeat_secs: float
    stop: Stop
    start: Callable[[], Awaitable[ChildProcess]]


@dataclass(frozen=True, slots=True)
class _End:
    """How a task ended: the method that tells it, and what it says."""

    method: str
    said: Mapping[str, Any]

    @classmethod
    def failed(cls, message: str) -> "_End":
        return cls("fail", {"error": {"message": message}})


class Slot:
    """A place, with the process that runs its tasks; one that has died, or had to be ended, is replaced."""

    def __init__(self, duty: Duty, child: ChildProcess | None) -> None:
        self._duty = duty
        self._child = child

    async def run(self) -> None:
        """Work until the worker is to stop. Raises RefusedError where the server has no work for this worker, ever."""
        try:
            while not self._duty.stop.asked.is_set():
                child = await self._ready_child()
                if child is not None:
                    for resource in await self._poll():
                        await self._work(resource, child)
        finally:
            await self._retire()

    async def _ready_child(self) -> ChildProcess | None:
        """The process, started anew where it has to be, for as long as it takes; None once the worker is to stop."""
        failures = 0
        while self._child is None or not self._child.is_alive:
            await self._retire()
            try:
                self._child = await until(self._duty.stop.asked, self._duty.start())
                if self._child is None:
                    return None
            except (LoadError, OSError) as error:
                pause = _RESTART_PAUSES_SECS[min(failures, len(_RESTART_PAUSES_SECS) - 1)]
                failures += 1
                _log.error("a process cannot be started: %s; again in %g s", error, pause)
                await until(self._duty.stop.asked, asyncio.sleep(pause))
                if self._duty.stop.asked.is_set():
                    return None
        return self._child

    async def _retire(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.end()

    async def _poll(self) -> list[dict[str, Any]]:
        duty = self._duty

        async def poll() -> list[dict[str, Any]]:
            return await duty.server.poll(list(duty.tasks), duty.name)

        return await until(duty.stop.asked, again(poll, "asks for tasks", duty.stop.asked)) or []

    async def _work(self, resource: Mapping[str, Any], child: ChildProcess) -> None:
        claim = {"id": resource["id"], "execId": resource["execId"]}
        name = self._duty.tasks[resource["definition"]]
        label = f"{name} {resource['id']}"
        if not child.is_alive:
            # Not begun, it goes to another one, at no cost.
            return
        try:
            begun = await self._begin(claim)
        except (AwayError, RefusedError) as refusal:
            _log.info("%s is left alone: %s", label, refusal)
            return
        attempt = begun.get("retryCount", 1)
        asked = {"id": resource["id"], "task": name, "input": resource["params"], "attempt": attempt}
        try:
            end = await self._run(child, asked, _Claim(claim, self._beat_secs(begun)))
        except RefusedError as refusal:
            # Aborted, out of time, or given to another worker: whatever it is doing, it counts for nothing any more.
            _log.warning("%s is ended, since it is not this worker's any more: %s", label, refusal)
            await self._retire()
            return
        await self._tell(label, end, claim)

    async def _tell(self, label: str, end: _End, claim: Mapping[str, str]) -> None:
        hurried = self._duty.stop.hurried
        try:
            params = {**claim, **end.said}
            await again(lambda: self._duty.server.call(end.method, params), f"tells the end of {label}", hurried)
        except AwayError as error:
            _log.error("%s has ended, and the server could not be told: %s", label, error)
            return
        except RefusedError as refusal:
            _log.warning("%s has ended, and that does not count: %s", label, refusal)
            return
        if end.method == "fail":
            _log.warning("%s has failed: %s", label, end.said["error"]["message"])
        else:
            _log.info("%s is done", label)

    async def _begin(self, claim: Mapping[str, str]) -> dict[str, Any]:
        sent = 0

        async def start() -> dict[str, Any]:
            nonlocal sent
            sent += 1
            try:
                return dict((await self._duty.server.call("start", claim))["resource"])
            except RefusedError as refusal:
                # The start before was not answered, and counted.
                if sent > 1 and refusal.kind == "wrong-status":
                    return dict((await self._duty.server.call("status", {"id": claim["id"]}))["resource"])
                raise

        return await again(start, "begins a task", self._duty.stop.asked)

    def _beat_secs(self, begun: Mapping[str, Any]) -> float:
        """How often to say that the task goes on: another worker may have registered a shorter time for it."""
        try:
            ends = datetime.fromisoformat(begun["inProgressTimeoutAt"])
            allowed = (ends - datetime.fromisoformat(begun["meta"]["lastUpdated"])).total_seconds()
        except (KeyError, ValueError):
            return self._duty.heartbeat_secs
        return min(self._duty.heartbeat_secs, max(0.1, allowed / HEARTBEATS))

    async def _run(self, child: ChildProcess, asked: Mapping[str, Any], claim: "_Claim") -> _End:
        """Pass on what the task says until its end, and say in between that it goes on. Raises RefusedError."""
        heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_HEARD)
        hearing = asyncio.create_task(_hear(child, asked, heard))
        try:
            while True:
                said = await self._next(heard, claim.beat_secs)
                if said is None:
                    await self._retire()
                    return _End.failed("the worker was stopped before the task had ended")
                await self._pass_on(claim, _notes(said) if said else [{"notification": "heartbeat"}])
                match said[-1:]:
                    case [{"result": result}]:
                        return _End("success", {"result": result})
                    case [{"error": error}]:
                        return _End("fail", {"error": error})
                    case [{"died": str(how)}]:
                        await self._retire()
                        return _End.failed(how)
                    case _:
                        pass
        finally:
            hearing.cancel()

    async def _next(self, heard: "asyncio.Queue[dict[str, Any]]", beat_secs: float) -> list[dict[str, Any]] | None:
        """What was said, in order; nothing, if that is for as long as a heartbeat; None: the worker is hurried."""
        first = asyncio.ensure_future(heard.get())
        hurried = asyncio.ensure_future(self._duty.stop.hurried.wait())
        try:
            await asyncio.wait({first, hurried}, timeout=beat_secs, return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                return None if hurried.done() else []
            said = [first.result()]
            while not heard.empty():
                said.append(heard.get_nowait())
            return said
        finally:
            first.cancel()
            hurried.cancel()

    async def _pass_on(self, claim: "_Claim", notes: Sequence[Mapping[str, Any]]) -> None:
        try:
            if notes:
                await self._duty.server.notify([{**claim.ids, **note} for note in notes])
        except AwayError as error:
            # The task goes on: the server may be back before the claim is lost, and tells if it is.
            _log.warning("the server is away: %s", error)
            await until(self._duty.stop.hurried, asyncio.sleep(min(1.0, claim.beat_secs)))
        except RefusedError as refusal:
            if refusal.kind in _LOST:
                raise
            _log.warning("what a task says was refused: %s", refusal)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What is spoken of, and how often it is to be spoken of."""

    ids: Mapping[str, str]
    beat_secs: float


async def _hear(child: ChildProcess, asked: Mapping[str, Any], heard: "asyncio.Queue[dict[str, Any]]") -> None:
    """Have the task run, and hear it to its end, or to the end of its process."""
    said: dict[str, Any] = {}
    try:
        await child.ask(asked)
        while not {"result", "error"} & said.keys():
            said = await child.hear()
            await heard.put(said)
    except ChildDiedError as death:
        await heard.put({"died": str(death)})


def _notes(said: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the server is told of it: every line, and of several progresses in a row the last one."""
    notes: list[dict[str, Any]] = []
    for one in said:
        if "log" in one:
            notes.append({"notification": "heartbeat", "message": one["log"]})
        elif "progress" in one:
            told = {f"progress-{key}": value for key, value in one["progress"].items() if value is not None}
            if notes and notes[-1]["notification"] == "progress":
                notes.pop()
            notes.append({"notification": "progress", **told})
    return notes
