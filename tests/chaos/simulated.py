"""The simulation at length: seeds in which no promise may break, and the hunt for each planted bug."""

import random
from pathlib import Path

from tests.chaos.clock import now
from tests.chaos.outcome import Outcome
from tests.simulation.__main__ import told
from tests.simulation.coverage import missed
from tests.simulation.hunt import BUGS, hunt
from tests.simulation.world import run_seed


def seeds(amount: int, seed: int, _directory: Path) -> Outcome:
    """So many simulated histories; the failed ones, and what was met too seldom, are findings."""
    outcome, began = Outcome("seeds", "sqlite", f"{seed}:seeds:{amount}"), now()
    first = _first(seed)
    for number in range(first, first + amount):
        history = run_seed(number)
        outcome.counts += history.counters
        if history.violation is not None:
            outcome.findings += told(history) + "\n"
    outcome.failure = "\n".join(f"too rare: {gap}" for gap in missed(outcome.counts, amount))
    outcome.counts["seeds"] = amount
    outcome.took_secs = now() - began
    return outcome


def bugs(most: int, seed: int, _directory: Path) -> Outcome:
    """Search each planted bug in at most so many histories: one that is not found shows that the checks are blind.

    The outcome counts how many it took.
    """
    outcome, began = Outcome("bugs", "sqlite", f"{seed}:bugs:{most}"), now()
    first = _first(seed)
    for name in sorted(BUGS):
        catch = hunt(name, first, most)
        if catch.seed is None:
            outcome.findings += f"{name} was not found in {most:,} seeds: {BUGS[name].says}\n"
        else:
            outcome.counts[name] = catch.seed - first + 1
    outcome.took_secs = now() - began
    return outcome


def _first(seed: int) -> int:
    """Where the seeds of a run begin: elsewhere than those of `make test`, which begin at 0."""
    return random.Random(f"{seed}:simulation").randrange(1_000_000, 1_000_000_000)
