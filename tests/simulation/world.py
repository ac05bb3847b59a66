"""A world from its seed to its end: faults first, then peace, then the reckoning."""

import asyncio
import gc
import hashlib
import random
from collections import Counter
from collections.abc import Coroutine
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from orchestrator.engine.caller import Request
from orchestrator.runtime.node_options import retry_of
from orchestrator.service.definitions import Definitions
from orchestrator.settings import Settings, load_settings
from tests.simulation.app import SimulatedApp
from tests.simulation.books import Books, Commit, Violation
from tests.simulation.calls_check import CallsCheck
from tests.simulation.claims_check import ClaimsCheck
from tests.simulation.cluster import Cluster
from tests.simulation.collector import SimulatedCollector
from tests.simulation.database import SimulatedDatabase
from tests.simulation.final_check import check_end, is_quiet, unrest
from tests.simulation.life_check import LifeCheck
from tests.simulation.loop import MICROS, Stuck, VirtualLoop
from tests.simulation.manifests import installed_image
from tests.simulation.network import Exchange, Receiver
from tests.simulation.outbox_check import OutboxCheck, ScheduleCheck
from tests.simulation.people import People
from tests.simulation.profile import WORLD_FAULTS, Profile, draw
from tests.simulation.seams import Surroundings, seams
from tests.simulation.steps_check import StepsCheck
from tests.simulation.store import EPOCH_MICROS, the_store

# Retries take at most some seconds here, and a lease 14.
PEACE_SECS = 400.0


Entry = tuple[int, tuple[object, ...]]
"""When something happened, and what: made into text only if somebody wants to read it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a seed ended. `violation` is None if every promise was kept."""

    seed: int
    violation: str | None
    entries: list[Entry]
    counters: Counter[str]
    virtual_secs: float

    @property
    def trace(self) -> list[str]:
        """What happened, a line each."""
        return [f"{micros / MICROS:.6f} {' '.join(map(str, what))}" for micros, what in self.entries]

    @property
    def digest(self) -> str:
        """Two runs of one seed have the same."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


# A node says so of clocks that jump, and of nodes that fall silent; both are what these worlds are made of.
EXPECTED_WARNINGS = {
    "this machine's clock differs from the database's: apps may refuse calls",
    "took over the claims of a silent node",
    "left without saying so",
    "did not finish on the way down",
    "nobody was notified; the others find the work by polling",
}


@lru_cache(maxsize=64)
def _settings(text: str) -> Settings:
    return load_settings(None, orjson.loads(text))


class World:
    """Everything that a seed brings about."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.entries: list[Entry] = [(0, (profile,))]
        self.violation: str | None = None
        self.loop = VirtualLoop(random.Random(f"order {profile.seed}"))
        self.store = the_store()
        self.store.reset(installed_image(has_schedule=profile.has_schedule))
        self.books = self._open_books()
        self.settings = _settings(orjson.dumps(profile.settings()).decode())
        self.app = SimulatedApp(profile, self.books, CallsCheck(self.books, self.now))
        self.collector = SimulatedCollector(profile, self.books)
        self.cluster = Cluster(self.loop, self.settings, self.books, profile.seed, profile.nodes)
        self.database = SimulatedDatabase(self.store, self.loop, profile, self.books.counters, self._committed)
        self.database.kill, self.database.pause = self.cluster.kill, self.cluster.pause
        self.cluster.database = self.database
        self._steps = StepsCheck(self.books)
        self._claims = ClaimsCheck(self.books, is_embedded=profile.is_embedded)
        self._life = LifeCheck(self.books)
        self._others = (OutboxCheck(self.books), ScheduleCheck(self.books))
        self._dice = random.Random(f"world {profile.seed}")
        self._is_peace = False
        self._has_changed = True
        self._is_quiet = False

    def now(self) -> int:
        """Microseconds, as the database counts them."""
        return EPOCH_MICROS + self.loop.micros

    def run(self) -> None:
        """Live through it. A broken promise is kept in `violation`."""
        around = Surroundings(
            self.loop,
            self.profile.seed,
            self._watched("app", self.app.receive),
            self._watched("collector", self.collector.receive),
            self._logged,
        )
        with seams(around) as ids:
            people = People(self.profile, self.books, self.database, Definitions(retry_of(self.settings)), ids.new_id)
            try:
                self._begin(people)
                self.loop.run(self._is_over)
                if self.violation is None:
                    check_end(self.books, self.store)
            except (Violation, Stuck) as error:
                self._fail(str(error))
            finally:
                self.loop.close()

    def _open_books(self) -> Books:
        rows = self.store.rows
        tasks: dict[int, str] = dict(rows("SELECT pk, id FROM task_definitions"))
        apps: dict[int, str] = dict(rows("SELECT pk, id FROM apps"))
        books = Books(tasks, apps)
        books.app_status = dict.fromkeys(apps, "active")
        books.app_states = {pk: {} for pk in apps}
        return books

    def _begin(self, people: People) -> None:
        for seat in self.cluster.seats:
            self.cluster.boot(seat)
        dice, end = self._dice, self.profile.chaos_secs
        events = [(dice.uniform(0, end * 0.7), "launch") for _ in range(self.profile.launches)]
        for fault in WORLD_FAULTS:
            at = dice.expovariate(1.0)
            while (rate := self.profile.rate(fault)) and at / rate < end:
                events.append((at / rate, fault))
                at += dice.expovariate(1.0)
        for at, event in sorted(events):
            self._outside(self._happen(people, at, event))
        self._outside(self._peace(people))

    def _outside(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.spawn(self.loop.outside, self._judged(work))

    async def _judged(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Violation as violation:
            self._fail(str(violation))
        except Exception as error:  # noqa: BLE001 - the product may raise to people what it says it raises, and no more
            self._fail(f"a request of people raised {error!r}")

    async def _happen(self, people: People, at: float, event: str) -> None:
        await asyncio.sleep(at)
        self._note(event)
        match event:
            case "crash":
                self.cluster.crash_one()
            case "pause":
                self.cluster.pause_one()
            case "drain":
                self.cluster.drain_one()
            case "clock_jump":
                self.cluster.jump_clock()
            case "away":
                self.database.is_away = True
                self.books.counters["database away"] += 1
                await asyncio.sleep(self._dice.choice((0.3, 2.0, 9.0)))
                self.database.is_away = False
            case "collector_down":
                self.collector.is_down = True
                self.books.counters["collector down"] += 1
                await asyncio.sleep(self._dice.choice((2.0, 9.0)))
                self.collector.is_down = False
            case deed:
                await people.do(deed)
                self.cluster.wake_one()

    async def _peace(self, people: People) -> None:
        await asyncio.sleep(self.profile.chaos_secs)
        self._note("peace")
        self.app.is_kind = self.collector.is_kind = self.database.is_kind = True
        # What went wrong before it still has its after-effects: a pause that has begun goes on, an outage too.
        await asyncio.sleep(1)
        self.database.is_away = False
        self.cluster.restore()
        self._is_peace = True
        await people.make_peace()

    def _is_over(self) -> bool:
        if self.violation is not None:
            return True
        if self.loop.crashes:
            self._fail(f"a callback raised: {self.loop.crashes}")
            return True
        if not self._is_peace:
            return False
        if self.loop.time() > self.profile.chaos_secs + PEACE_SECS:
            self._fail(f"not at rest {PEACE_SECS} s after the last fault: {unrest(self.books)}")
            return True
        if self._has_changed:
            self._has_changed = False
            self._is_quiet = is_quiet(self.books)
        return self._is_quiet

    def _watched(self, what: str, receive: Receiver) -> Receiver:
        def received(node: str, request: Request) -> Exchange:
            try:
                exchange = receive(node, request)
            except Violation as violation:
                self._fail(str(violation))
                raise
            secs = f"in {exchange.secs:.6f} s"
            self._note(node, "calls", what, request.headers["Idempotency-Key"], request.body, exchange.outcome, secs)
            return exchange

        return received

    def _committed(self, commit: Commit) -> None:
        self._note(commit)
        try:
            self._steps.check(commit)
            self._claims.check(commit)
            self._life.check(commit)
            for check in self._others:
                check.check(commit)
            self.books.take_in(commit)
            self._has_changed = True
            self._claims.after(commit)
            self._life.after(commit)
        except Violation as violation:
            self._fail(str(violation))
            raise

    def _logged(self, event: str, error: str) -> None:
        self._note("log:", event, error)
        # What the product logs as an error must have a cause outside of it.
        is_explained = "DatabaseUnavailable" in error or event in EXPECTED_WARNINGS
        if not is_explained and self.violation is None:
            self._fail(f"the product reports a fault of its own: {event}: {error}")

    def _note(self, *what: object) -> None:
        self.entries.append((self.loop.micros, what))

    def _fail(self, violation: str) -> None:
        if self.violation is None:
            self.violation = violation
            self._note("VIOLATION", violation)


def run_seed(seed: int, bug: AbstractContextManager[object] | None = None) -> Outcome:
    """Live through one seed, with a planted bug in the product if one is given."""
    # What the collector runs when it finds a killed task would come at no certain time.
    gc.disable()
    try:
        with bug or nullcontext():
            world = World(draw(seed))
            world.run()
    finally:
        gc.enable()
    return Outcome(seed, world.violation, world.entries, world.books.counters, world.loop.time())
