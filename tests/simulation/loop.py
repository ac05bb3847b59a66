"""An event loop in virtual time: when nothing is ready, the clock jumps to the next timer.

Each callback belongs to a simulated process, found through its context. Those of one process run in their order, as
asyncio promises; which process runs next is drawn from the seed.
"""

import asyncio
import heapq
import math
import random
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MICROS = 1_000_000
# Far beyond what any seed needs: a loop that turns without time passing would never end.
MOST_CALLBACKS = 400_000


class Stuck(RuntimeError):
    """Nothing is left to run, or the callbacks never end."""


@dataclass(slots=True, eq=False)
class Process:
    """A process of the simulated world. A dead one runs nothing more; a paused one goes on later, its timers overdue.

    `skew_secs`: how far its wall clock is off. Its monotonic clock is that of the loop.
    """

    name: str
    is_paused: bool = False
    is_dead: bool = False
    pauses: int = 0
    skew_secs: float = 0.0
    ready: deque[asyncio.Handle] = field(default_factory=deque)

    def die(self) -> None:
        """As by kill -9: whatever it was about to do never happens, and nothing is cleaned up."""
        self.is_dead = True
        self.ready.clear()


PROCESS: ContextVar[Process] = ContextVar("PROCESS")


class VirtualLoop(asyncio.BaseEventLoop):
    """The part of an event loop that asyncio's tasks, futures, locks and timeouts need."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self.micros = 0
        self.outside = Process("outside")
        self.processes = [self.outside]
        self.crashes: list[str] = []
        """Callbacks that raised: a fault of the simulation or of the product."""
        self._dice = dice
        self._timers: list[tuple[int, int, asyncio.TimerHandle, Process]] = []
        self._sequence = 0
        self._tasks: list[asyncio.Task[Any]] = []

    def time(self) -> float:
        return self.micros / MICROS

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        context = context or copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        process = context.get(PROCESS, self.outside)
        if not process.is_dead:
            process.ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        context = context or copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        # Never a microsecond early: who sleeps until something is due would find that it is not.
        micros = math.ceil(when * MICROS - 0.01)
        self._sequence += 1
        heapq.heappush(self._timers, (micros, self._sequence, handle, context.get(PROCESS, self.outside)))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        task: asyncio.Task[T] = asyncio.Task(coro, loop=self, context=context)
        # Those of a killed process are kept until the end: collected earlier, they would run their last lines.
        self._tasks.append(task)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        return task

    def spawn(self, process: Process, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` as a task of the process."""
        context = copy_context()
        context.run(PROCESS.set, process)
        return self.create_task(work, context=context)

    def run(self, is_over: Callable[[], bool]) -> None:
        """Run callbacks until `is_over`. Raises Stuck."""
        events._set_running_loop(self)
        try:
            for _ in range(MOST_CALLBACKS):
                self._run_one()
                if is_over():
                    return
        finally:
            events._set_running_loop(None)
        raise Stuck(f"{MOST_CALLBACKS} callbacks, and no end")

    def _run_one(self) -> None:
        runnable = [process for process in self.processes if process.ready and not process.is_paused]
        if not runnable:
            self.processes = [process for process in self.processes if not process.is_dead]
            self._jump()
            return
        process = runnable[0] if len(runnable) == 1 else runnable[int(self._dice.random() * len(runnable))]
        handle = process.ready.popleft()
        if not handle.cancelled():
            handle._run()

    def _jump(self) -> None:
        while self._timers and (self._timers[0][2].cancelled() or self._timers[0][3].is_dead):
            heapq.heappop(self._timers)
        if not self._timers:
            raise Stuck("nothing is ready, and no timer is set")
        self.micros = max(self.micros, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self.micros:
            _, _, handle, process = heapq.heappop(self._timers)
            if not process.is_dead and not handle.cancelled():
                process.ready.append(handle)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        # What the garbage collector reports comes at no certain time; a callback that raises does.
        if "handle" in context:
            self.crashes.append(f"{context.get('message')}: {context.get('exception')!r}")

    def close(self) -> None:
        """Throw away whatever has not ended."""
        super().close()
        for process in self.processes:
            process.is_dead = True
        for task in self._tasks:
            coroutine = task.get_coro()
            if not task.done() and coroutine is not None:
                with suppress(RuntimeError):
                    coroutine.close()
        self._tasks.clear()
        self._timers.clear()
