"""What a turn costs among sleeping workers: claim and apply of one due worker, beside 1,000 and up to 1,000,000.

    python -m benchmarks.sleepers [--sizes 1000 100000 1000000] [--turns 400] [--rounds 1]

The databases of all sizes are open at once and take turns, so that a busy machine is unfair to all alike. No loop runs:
each transaction is timed by itself, from the call to its commit. More rounds are more turns.
"""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.findings import Chart, Findings, Table, Target, at_most, number, percentile, ratio
from benchmarks.node import KINDS, NAMES, Kind
from benchmarks.part import Part, tell
from benchmarks.stores import Stores
from orchestrator.store.clock import to_micros
from tests.engine.by_hand import ByHand, answered
from tests.engine.crowd import insert_crowd
from tests.support.world import World, running_world

WARM_UP = 20
METHOD = """\
Among so many workers that are due tomorrow, one is due now: it is claimed, and its answer is applied, each in one
transaction by itself, timed from the call to the end of its commit, {turns} times. The databases of all sizes are open
at once and take turns. `x` is beside the least size; a step is claim and apply together. In a busy server claims and
applies of many workers share their commits, so that a step costs far less than this."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of sleepers, the least first, and how many turns each has in a round."""

    sizes: tuple[int, ...] = (1000, 100_000, 1_000_000)
    turns: int = 400


QUICK = Sizes((100, 1000), 20)


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of each claim and of each apply, in the same order."""

    claims: list[float] = field(default_factory=list)
    applies: list[float] = field(default_factory=list)

    @property
    def steps(self) -> list[float]:
        return [claim + apply for claim, apply in zip(self.claims, self.applies, strict=True)]


def measure(sizes: Sizes, rounds: int) -> Findings:
    """Both databases, one after the other."""
    found: dict[Kind, Mapping[int, Times]] = {}
    turns = sizes.turns * rounds
    for kind in KINDS:
        with ExitStack() as stack:
            stores = Stores(stack)
            urls = {size: stack.enter_context(stores.open(kind)).url for size in sizes.sizes}
            found[kind] = asyncio.run(_all_turns(urls, turns))
        tell(f"sleepers, {NAMES[kind]}: done")
    return _findings(found, turns)


async def _all_turns(urls: Mapping[int, str], turns: int) -> Mapping[int, Times]:
    found = {size: Times() for size in urls}
    async with AsyncExitStack() as opened:
        hands = {}
        for size, url in urls.items():
            world = await opened.enter_async_context(running_world(url, _nobody, start=False))
            hands[size] = await _crowded(world, size)
        for number_ in range(turns + WARM_UP):
            for size, hand in hands.items():
                await _turn(hand, found[size] if number_ >= WARM_UP else Times())
    return found


def _nobody(_request: object) -> object:
    raise AssertionError("nobody is called here")


async def _crowded(world: World, sleepers: int) -> ByHand:
    await world.install({"on_multiple_exec": "allow"})
    tomorrow = to_micros(datetime.now(UTC) + timedelta(days=1))
    await world.database.write(insert_crowd, "app_test_run", sleepers, tomorrow)
    await world.database.write(lambda tx: tx.run("ANALYZE"))
    return ByHand(world)


async def _turn(hand: ByHand, times: Times) -> None:
    execution = await hand.world.launch(wakes=None)
    claimed = await _timed(hand.claims(), times.claims)
    [claim] = [claim for claim in claimed if claim.execution_id == execution]
    await _timed(hand.apply(answered(claim, is_done=True), renews=False), times.applies)


async def _timed(done: Awaitable[Any], into: list[float]) -> Any:
    began = time.perf_counter()
    result = await done
    into.append((time.perf_counter() - began) * 1000)
    return result


def _findings(found: Mapping[Kind, Mapping[int, Times]], turns: int) -> Findings:
    rows = []
    targets: list[Target] = []
    lines: dict[str, list[tuple[float, float]]] = {}
    for kind, by_size in found.items():
        base = next(iter(by_size.values()))
        for size, times in by_size.items():
            row = [f"{NAMES[kind]}, {number(size)} asleep"]
            for name in ("claims", "applies", "steps"):
                values = getattr(times, name)
                for share in (0.5, 0.99):
                    cost = percentile(values, share)
                    row.append(f"{number(cost)} ({number(ratio(cost, percentile(getattr(base, name), share)))} x)")
                    if name != "steps":
                        what = f"{NAMES[kind]}, {name[:-1].replace('applie', 'apply')} p{share * 100:.0f}"
                        lines.setdefault(what, []).append((size, cost))
            rows.append(tuple(row))
        grown = ratio(percentile(times.steps, 0.5), percentile(base.steps, 0.5))
        what = f"a step among {number(size)} sleepers beside {number(next(iter(by_size)))}, p50, {NAMES[kind]}"
        targets.append(at_most(what, grown, 1.2, " x"))
    head = ("", "claim p50 ms", "p99 ms", "apply p50 ms", "p99 ms", "step p50 ms", "p99 ms")
    # The tails are in the table: in the chart they would hide what the line is about.
    typical = {name: points for name, points in lines.items() if name.endswith("p50")}
    chart = Chart("sleepers", "Claim and apply of one due worker", "workers asleep", "ms", typical)
    table = Table(head, tuple(rows))
    return Findings("Sleeping workers", METHOD.format(turns=turns), (table,), (chart,), tuple(targets))


PART = Part("sleepers", measure, Sizes(), QUICK)

if __name__ == "__main__":
    PART.command(__doc__)
