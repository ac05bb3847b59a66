"""The search for a planted bug: seed after seed until the simulation sees it."""

from dataclasses import dataclass
from pathlib import Path

# Imported for what they register.
from tests.simulation import planted_claims, planted_outbox, planted_steps, recorded
from tests.simulation.planted import BUGS
from tests.simulation.world import run_seed

__all__ = ["BUGS", "Catch", "hunt", "planted_claims", "planted_outbox", "planted_steps", "record"]


@dataclass(frozen=True, slots=True)
class Catch:
    """The first seed that saw a bug, and what it saw; both None if none of them did."""

    bug: str
    seed: int | None
    violation: str | None


def record(found: dict[str, int]) -> None:
    """Keep the seeds for the tests; those of bugs that were not hunted this time stay."""
    path = Path(recorded.__file__)
    head, _, _ = path.read_text(encoding="utf-8").partition("SEEDS")
    seeds = {name: seed for name, seed in {**recorded.SEEDS, **found}.items() if name in BUGS}
    lines = "".join(f'    "{name}": {seeds[name]},\n' for name in sorted(seeds))
    path.write_text(f"{head}SEEDS: dict[str, int] = {{\n{lines}}}\n", encoding="utf-8")


def hunt(name: str, first: int, most: int) -> Catch:
    """Try the seeds from `first` on, at most so many."""
    for seed in range(first, first + most):
        outcome = run_seed(seed, BUGS[name].planted())
        if outcome.violation is not None:
            return Catch(name, seed, outcome.violation)
    return Catch(name, None, None)
