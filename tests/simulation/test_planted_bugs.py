"""The simulation sees: each planted bug is found by its recorded seed, which without it breaks no promise."""

import pytest

from tests.simulation.hunt import BUGS, hunt
from tests.simulation.recorded import SEEDS
from tests.simulation.world import run_seed

MOST_SEEDS = 100

pytestmark = pytest.mark.slow


def test_every_bug_has_its_seed() -> None:
    assert SEEDS.keys() == BUGS.keys()
    assert len(BUGS) >= 25


@pytest.mark.parametrize("name", sorted(BUGS))
def test_a_planted_bug_is_found(name: str) -> None:
    outcome = run_seed(SEEDS[name], BUGS[name].planted())
    if outcome.violation is None:
        # A change of the product has moved the worlds: most bugs are seen in some of the next ones.
        again = f"python -m tests.simulation --hunt {name} --record"
        assert hunt(name, 0, MOST_SEEDS).seed is not None, f"{BUGS[name].says} Search more seeds: {again}"


@pytest.mark.parametrize("seed", sorted(set(SEEDS.values())))
def test_without_the_bug_its_seed_is_sound(seed: int) -> None:
    outcome = run_seed(seed)
    assert outcome.violation is None
