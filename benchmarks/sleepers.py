"""What a turn costs among sleeping workers: claim and apply of one due worker, beside 1,000 and up to 1,000,000.

    python benchmarks/sleepers.py [--sizes 1000 100000 1000000] [--turns 400]

Both databases, full durability. The databases of all sizes are open at once and take turns, so that a busy machine is
unfair to all alike. No loop runs: each transaction is timed by itself, from the call to its commit.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orchestrator.store.clock import to_micros
from tests.engine.by_hand import ByHand, answered
from tests.engine.crowd import insert_crowd
from tests.support.postgres import running_postgres
from tests.support.world import World, running_world

Times = dict[int, tuple[list[float], list[float]]]
"""Milliseconds of the claims and of the applies, by the number of sleepers."""


def nobody(_request: object) -> object:
    raise AssertionError("nobody is called here")


async def timed(done: Awaitable[Any], into: list[float]) -> Any:
    began = time.perf_counter()
    result = await done
    into.append((time.perf_counter() - began) * 1000)
    return result


async def crowded(world: World, sleepers: int) -> ByHand:
    await world.install({"on_multiple_exec": "allow"})
    tomorrow = to_micros(datetime.now(UTC) + timedelta(days=1))
    await world.database.write(insert_crowd, "app_test_run", sleepers, tomorrow)
    await world.database.write(lambda tx: tx.run("ANALYZE"))
    return ByHand(world)


async def turn(hand: ByHand, claims: list[float], applies: list[float]) -> None:
    execution = await hand.world.launch(wakes=None)
    claimed = await timed(hand.claims(), claims)
    [claim] = [claim for claim in claimed if claim.execution_id == execution]
    await timed(hand.apply(answered(claim, is_done=True), renews=False), applies)


async def measure(open_url: Callable[[int], str], sizes: list[int], turns: int) -> Times:
    found: Times = {size: ([], []) for size in sizes}
    async with AsyncExitStack() as opened:
        hands = {}
        for size in sizes:
            world = await opened.enter_async_context(running_world(open_url(size), nobody, start=False))
            hands[size] = await crowded(world, size)
        for number in range(turns + 20):
            for size, hand in hands.items():
                await turn(hand, *(found[size] if number >= 20 else ([], [])))
    return found


def show(name: str, found: Times) -> None:
    least: dict[str, tuple[float, float]] = {}
    for size, (claims, applies) in found.items():
        row = []
        for what, times in (("claim", claims), ("apply", applies)):
            ordered = sorted(times)
            p50, p99 = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
            base50, base99 = least.setdefault(what, (p50, p99))
            row.append(f"{what} p50 {p50:6.2f} ms ({p50 / base50:4.2f} x)  p99 {p99:7.2f} ms ({p99 / base99:4.2f} x)")
        print(f"{name:10} {size:>9,} sleepers   {'   '.join(row)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--turns", type=int, default=400)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(measure(lambda size: f"sqlite:///{directory}/{size}.db", asked.sizes, asked.turns))
        show("SQLite", found)
    with running_postgres() as server, ExitStack() as databases:
        urls = {size: databases.enter_context(server.database()) for size in asked.sizes}
        show("PostgreSQL", asyncio.run(measure(urls.__getitem__, asked.sizes, asked.turns)))


if __name__ == "__main__":
    main()
