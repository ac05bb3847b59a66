"""How far one PostgreSQL goes: a simulation of nodes, group commits and a database, for docs/scale.md.

    python -m benchmarks.scale_simulation [--commit-us 1150] [--step-us 17] [--node-us 196] [--disk-ms 1.0]
        [--mutating 0.1]

The costs come from `benchmarks.scale`: CPU of PostgreSQL for each commit and for each step in it, CPU of a node for
each step. A node is one process that uses one core, makes 100 calls at a time, and commits what came together while
its last commit was under way, as the engine does. A commit waits for the app states that it changes (one lock for each
app), runs on one of the database's cores, and then waits for the disk. Everything is drawn from a seed.
"""

import argparse
import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

PLACES = 100
LARGEST_COMMIT = 256
ROUND_TRIPS = 6


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds: CPU of the database for a commit and for a step, of a node for a step; disk; network; the app's answer.

    `mutating`: the share of answers that change their app's state.
    """

    commit: float
    step: float
    node: float
    disk: float
    trip: float = 0.0002
    app: float = 0.02
    mutating: float = 0.1


class Clock:
    """Runs what is due, in order; time jumps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, secs: float, work: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (self.now + secs, self._count, work))

    def run(self, until: float) -> None:
        while self._due and self._due[0][0] <= until:
            self.now, _, work = heapq.heappop(self._due)
            work()
        self.now = until


@dataclass(slots=True)
class Cores:
    """So many servers and one queue."""

    clock: Clock
    free: int
    waiting: deque[tuple[float, Callable[[], None]]] = field(default_factory=deque)

    def use(self, secs: float, then: Callable[[], None]) -> None:
        if not self.free:
            self.waiting.append((secs, then))
            return
        self.free -= 1
        self.clock.after(secs, lambda: self._done(then))

    def _done(self, then: Callable[[], None]) -> None:
        self.free += 1
        if self.waiting:
            self.use(*self.waiting.popleft())
        then()


@dataclass(slots=True)
class World:
    """One database. `locks`: the apps whose state a commit under way is changing, with those that wait for it."""

    clock: Clock
    costs: Costs
    database: Cores
    chance: random.Random
    apps: int
    steps: int = 0
    locks: dict[int, deque[Callable[[], None]]] = field(default_factory=dict)

    def lock(self, app: int, then: Callable[[], None]) -> None:
        if app in self.locks:
            self.locks[app].append(then)
        else:
            self.locks[app] = deque()
            then()

    def unlock(self, app: int) -> None:
        waiting = self.locks.pop(app)
        if waiting:
            self.locks[app] = waiting
            waiting.popleft()()


class Node:
    """A process: its calls, its core, its one commit at a time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._core = Cores(world.clock, 1)
        self._answers: deque[int] = deque()
        self._is_committing = False
        for _ in range(PLACES):
            self._call(world.chance.randrange(world.apps))

    def _call(self, app: int) -> None:
        wait = self._world.chance.expovariate(1 / self._world.costs.app)
        self._world.clock.after(wait, lambda: self._core.use(self._world.costs.node, lambda: self._answered(app)))

    def _answered(self, app: int) -> None:
        self._answers.append(app)
        if not self._is_committing:
            self._begin()

    def _begin(self) -> None:
        self._is_committing = True
        batch = [self._answers.popleft() for _ in range(min(len(self._answers), LARGEST_COMMIT))]
        chance, share = self._world.chance, self._world.costs.mutating
        self._take(sorted({app for app in batch if chance.random() < share}), 0, batch)

    def _take(self, apps: list[int], position: int, batch: list[int]) -> None:
        if position < len(apps):
            self._world.lock(apps[position], lambda: self._take(apps, position + 1, batch))
            return
        costs = self._world.costs
        trips = ROUND_TRIPS * costs.trip
        work = costs.commit + costs.step * len(batch)
        rest = self._world.chance.expovariate(1 / costs.disk) + trips
        finish = lambda: self._world.clock.after(rest, lambda: self._committed(apps, batch))  # noqa: E731
        self._world.database.use(work, finish)

    def _committed(self, apps: list[int], batch: list[int]) -> None:
        for app in apps:
            self._world.unlock(app)
        self._world.steps += len(batch)
        for app in batch:
            self._call(app)
        self._is_committing = False
        if self._answers:
            self._begin()


def rate(costs: Costs, *, nodes: int, cores: int, apps: int, secs: float = 3.0) -> float:
    """Steps a second of so many nodes on a database of so many cores."""
    clock = Clock()
    world = World(clock, costs, Cores(clock, cores), random.Random(7), apps)
    for _ in range(nodes):
        Node(world)
    clock.run(1.0)
    before = world.steps
    clock.run(1.0 + secs)
    return (world.steps - before) / secs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit-us", type=float, default=1150)
    parser.add_argument("--step-us", type=float, default=17)
    parser.add_argument("--node-us", type=float, default=196)
    parser.add_argument("--disk-ms", type=float, default=1.0)
    parser.add_argument("--mutating", type=float, default=0.1)
    parser.add_argument("--secs", type=float, default=3.0)
    asked = parser.parse_args()
    costs = Costs(asked.commit_us / 1e6, asked.step_us / 1e6, asked.node_us / 1e6, asked.disk_ms / 1e3)
    costs = replace(costs, mutating=asked.mutating)
    counts = (1, 2, 4, 8, 16, 32)
    for title, apps in (("a thousand apps", 1000), ("one app", 1)):
        print(f"{title}: steps/s\n  cores of PostgreSQL  " + "".join(f"{count:>7} nodes" for count in counts))
        for cores in (2, 4, 8, 16, 32):
            found = [rate(costs, nodes=count, cores=cores, apps=apps, secs=asked.secs) for count in counts]
            print(f"  {cores:19}  " + "".join(f"{one:>13,.0f}" for one in found))


if __name__ == "__main__":
    main()
