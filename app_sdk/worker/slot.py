"""One of a worker's places: it fetches a task, has its process run it, says that it is alive, and how it ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from app_sdk.worker.process import ChildDiedError, ChildProcess
from app_sdk.worker.server import AwayError, RefusedError, Server

_PAUSES_SECS = (0.2, 1.0, 3.0, 5.0)
_MOST_AT_ONCE = 100
_log = logging.getLogger("app_sdk.worker")

T = TypeVar("T")


@dataclass(slots=True)
class Stop:
    """How a worker comes to its end. `asked`: nothing new is begun; `hurried`: what runs is ended."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hurried: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Duty:
    """What every place of a worker has to do. `tasks`: the names by the ids of the definitions that are asked for."""

    server: Server
    tasks: Mapping[str, str]
    name: str
    heartbeat_secs: float
    stop: Stop


class Slot:
    """A place, with the process that runs its tasks; a process that has died is replaced by `start`."""

    def __init__(self, duty: Duty, child: ChildProcess, start: Callable[[], Awaitable[ChildProcess]]) -> None:
        self._duty = duty
        self._child = child
        self._start = start

    async def run(self) -> None:
        """Work until the worker is to stop. Raises RefusedError where the server has no work for this worker, ever."""
        stop = self._duty.stop
        try:
            while not stop.asked.is_set():
                for resource in await self._poll():
                    await self._work(resource)
        finally:
            await self._child.end()

    async def _poll(self) -> list[dict[str, Any]]:
        duty = self._duty

        async def poll() -> list[dict[str, Any]]:
            return await duty.server.poll(list(duty.tasks), duty.name)

        return await until(duty.stop.asked, again(poll, "asks for tasks", duty.stop.asked)) or []

    async def _work(self, resource: Mapping[str, Any]) -> None:
        claim = {"id": resource["id"], "execId": resource["execId"]}
        label = f"{self._duty.tasks[resource['definition']]} {resource['id']}"
        try:
            begun = (await self._start_claim(claim))["resource"]
        except (AwayError, RefusedError) as refusal:
            _log.info("%s is left alone: %s", label, refusal)
            return
        try:
            method, said = await self._run(resource, begun, claim)
        except RefusedError as refusal:
            # Aborted, out of time, or given to another worker: whatever it is doing, it counts for nothing any more.
            _log.warning("%s is ended, since it is not this worker's any more: %s", label, refusal)
            await self._replace()
            return
        await self._tell(label, method, {**claim, **said})

    async def _tell(self, label: str, method: str, said: Mapping[str, Any]) -> None:
        try:
            hurried = self._duty.stop.hurried
            await again(lambda: self._duty.server.call(method, said), f"tells the end of {label}", hurried)
        except AwayError as error:
            _log.error("%s has ended, and the server could not be told: %s", label, error)
            return
        except RefusedError as refusal:
            _log.warning("%s has ended, and that does not count: %s", label, refusal)
            return
        if method == "fail":
            _log.warning("%s has failed: %s", label, said["error"]["message"])
        else:
            _log.info("%s is done", label)

    async def _start_claim(self, claim: Mapping[str, str]) -> dict[str, Any]:
        sent = 0

        async def start() -> dict[str, Any]:
            nonlocal sent
            sent += 1
            try:
                return dict(await self._duty.server.call("start", claim))
            except RefusedError as refusal:
                # The start before was not answered, and counted.
                if sent > 1 and refusal.kind == "wrong-status":
                    return {"resource": {}}
                raise

        return await again(start, "begins a task", self._duty.stop.asked)

    async def _run(
        self, resource: Mapping[str, Any], begun: Mapping[str, Any], claim: Mapping[str, str]
    ) -> tuple[str, dict[str, Any]]:
        """How the task ended: the method that tells it, and what it says. Raises RefusedError."""
        name = self._duty.tasks[resource["definition"]]
        attempt = begun.get("retryCount", 1)
        asked = {"id": resource["id"], "task": name, "input": resource["params"], "attempt": attempt}
        try:
            await self._child.ask(asked)
        except ChildDiedError as death:
            await self._replace()
            return "fail", {"error": {"message": str(death)}}
        return await self._attend(claim)

    async def _attend(self, claim: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
        """Pass on what the task says until its end, and say in between that it goes on. Raises RefusedError."""
        heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MOST_AT_ONCE)
        hearing = asyncio.create_task(self._hear(heard))
        try:
            while True:
                said = await self._next(heard)
                if said is None:
                    await self._replace()
                    return "fail", {"error": {"message": "the worker was stopped before the task had ended"}}
                await self._pass_on(claim, _notes(said) if said else [{"notification": "heartbeat"}])
                last = said[-1] if said else {}
                if "result" in last:
                    return "success", {"result": last["result"]}
                if "error" in last:
                    return "fail", {"error": last["error"]}
                if "died" in last:
                    await self._replace()
                    return "fail", {"error": {"message": last["died"]}}
        finally:
            hearing.cancel()

    async def _next(self, heard: "asyncio.Queue[dict[str, Any]]") -> list[dict[str, Any]] | None:
        """What was said, in order; nothing, if that is for as long as a heartbeat; None: the worker is hurried."""
        first = asyncio.ensure_future(heard.get())
        hurried = asyncio.ensure_future(self._duty.stop.hurried.wait())
        try:
            secs = self._duty.heartbeat_secs
            await asyncio.wait({first, hurried}, timeout=secs, return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                return None if hurried.done() else []
            said = [first.result()]
            while not heard.empty():
                said.append(heard.get_nowait())
            return said
        finally:
            first.cancel()
            hurried.cancel()

    async def _hear(self, heard: "asyncio.Queue[dict[str, Any]]") -> None:
        said: dict[str, Any] = {}
        while not {"result", "error", "died"} & said.keys():
            try:
                said = await self._child.hear()
            except ChildDiedError as death:
                said = {"died": str(death)}
            await heard.put(said)

    async def _pass_on(self, claim: Mapping[str, str], notes: Sequence[Mapping[str, Any]]) -> None:
        try:
            if notes:
                await self._duty.server.notify([{**claim, **note} for note in notes])
        except AwayError as error:
            # The task goes on: the server may be back before the claim is lost, and tells if it is.
            _log.warning("the server is away: %s", error)

    async def _replace(self) -> None:
        await self._child.end()
        if not self._duty.stop.asked.is_set():
            self._child = await self._start()


async def again(work: Callable[[], Awaitable[T]], what: str, unless: asyncio.Event) -> T:
    """Do it until the server answers. Raises AwayError where it does not, and the event has come."""
    failures = 0
    while True:
        try:
            return await work()
        except AwayError as error:
            if unless.is_set():
                raise
            pause = _PAUSES_SECS[min(failures, len(_PAUSES_SECS) - 1)]
            failures += 1
            _log.warning("the server is away while a worker %s: %s; again in %g s", what, error, pause)
            await until(unless, asyncio.sleep(pause))


async def until(event: asyncio.Event, work: Awaitable[T]) -> T | None:
    """The result of the work; None if the event comes first: then the work is cancelled."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


def _notes(said: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
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
