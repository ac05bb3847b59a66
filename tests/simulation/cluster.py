"""The nodes of a world: booted, killed, stopped for a while, drained, and each time booted anew."""

import asyncio
import random
from contextvars import copy_context
from dataclasses import dataclass

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.runtime.node import Node
from orchestrator.runtime.node_options import Addresses
from orchestrator.settings import Settings
from tests.simulation.books import Books
from tests.simulation.database import SimulatedDatabase
from tests.simulation.loop import PROCESS, Process, VirtualLoop
from tests.simulation.manifests import the_vault
from tests.simulation.profile import DRAIN_SECS, LEASE_SECS

_ADDRESSES = Addresses("https://orchestrator.test", "https://collector.test/collector")


@dataclass(slots=True)
class Seat:
    """The place of a node. A node that boots here again has a fresh process and identity."""

    number: int
    boots: int = 0
    process: Process | None = None
    node: Node | None = None
    is_draining: bool = False


class Cluster:
    """Every node of a world."""

    def __init__(self, loop: VirtualLoop, settings: Settings, books: Books, seed: int, count: int) -> None:
        self.seats = [Seat(number) for number in range(count)]
        self.database: SimulatedDatabase | None = None
        self._loop = loop
        self._settings = settings
        self._books = books
        self._dice = random.Random(f"cluster {seed}")

    def boot(self, seat: Seat) -> None:
        """Start a node here, unless one runs."""
        if seat.node is not None:
            return
        seat.boots += 1
        seat.process = process = Process(f"node-{seat.number}.{seat.boots}")
        self._loop.processes.append(process)
        seat.is_draining = False
        context = copy_context()
        context.run(PROCESS.set, process)
        assert self.database is not None
        seat.node = node = context.run(Node, self._settings, self.database, the_vault(), _ADDRESSES)
        self._loop.create_task(self._start(seat, node), context=context)

    async def _start(self, seat: Seat, node: Node) -> None:
        try:
            await node.start()
        except DatabaseUnavailable:
            # As a process that ends with an error: whoever supervises it starts it again.
            assert seat.process is not None
            self.kill(seat.process)

    def kill(self, process: Process) -> None:
        """kill -9; another node boots in its place after a while."""
        [seat] = [seat for seat in self.seats if seat.process is process]
        process.die()
        seat.node = None
        self._books.counters["node killed"] += 1
        self._loop.spawn(self._loop.outside, self._boot_later(seat))

    def crash_one(self) -> None:
        seat = self._dice.choice(self.seats)
        if seat.node is not None and seat.process is not None:
            self.kill(seat.process)

    def pause_one(self) -> None:
        process = self._dice.choice(self.seats).process
        if process is not None:
            self.pause(process)

    def pause(self, process: Process) -> None:
        """SIGSTOP, and SIGCONT a while later, often after every lease of the node has run out."""
        if not process.is_dead and not process.is_paused:
            process.is_paused = True
            process.pauses += 1
            self._books.counters["node paused"] += 1
            secs = self._dice.choice((1.0, LEASE_SECS * 0.7, LEASE_SECS + self._dice.uniform(0, 12)))
            self._loop.spawn(self._loop.outside, self._go_on_later(process, secs))

    async def _go_on_later(self, process: Process, secs: float) -> None:
        await asyncio.sleep(secs)
        process.is_paused = False

    def drain_one(self) -> None:
        """SIGTERM; another node boots when this one has gone."""
        seat = self._dice.choice(self.seats)
        if seat.node is None or seat.process is None or seat.is_draining:
            return
        seat.is_draining = True
        self._books.counters["node drained"] += 1
        self._loop.spawn(seat.process, self._drain(seat, seat.node, seat.process))

    async def _drain(self, seat: Seat, node: Node, process: Process) -> None:
        began = self._loop.time()
        pauses = process.pauses
        self._books.counters["drained in time" if await node.drain() else "drain cut calls off"] += 1
        took_secs = self._loop.time() - began
        was_stopped = process.pauses > pauses or process.is_paused
        if took_secs > DRAIN_SECS and not was_stopped:
            self._loop.crashes.append(f"{process.name} took {took_secs} s to drain")
        self.kill(process)

    def jump_clock(self) -> None:
        """The wall clock of a node goes wrong."""
        seat = self._dice.choice(self.seats)
        if seat.process is not None:
            seat.process.skew_secs = self._dice.choice((-3600.0, -5.0, 5.0, 3600.0))
            self._books.counters["clock jumped"] += 1

    def wake_one(self) -> None:
        """A request came in at some node, which tells its loops; or it died just then, and nobody is told."""
        seat = self._dice.choice(self.seats)
        if seat.node is not None and seat.process is not None and self._dice.random() < 0.7:
            seat.node.wake()

    def restore(self) -> None:
        """Every node runs again, with a right clock."""
        for seat in self.seats:
            self.boot(seat)
            if seat.process is not None:
                seat.process.is_paused = False
                seat.process.skew_secs = 0.0

    async def _boot_later(self, seat: Seat) -> None:
        await asyncio.sleep(self._dice.uniform(0.2, 4))
        self.boot(seat)
