"""The simulation by hand.

python -m tests.simulation --seed 1234 [--bug NAME]     one seed, with its whole trace
python -m tests.simulation --seeds 10000 [--first 0] [--workers 2] [--json]
python -m tests.simulation --hunt [NAME ...] [--most 10000] [--workers 2] [--record]
"""

import argparse
import json
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from tests.simulation.coverage import missed
from tests.simulation.hunt import BUGS, Catch, hunt, record
from tests.simulation.world import Outcome, run_seed

CHUNK = 50
END_OF_TRACE = 30
SHOWN_CHARS = 2_000


def told(outcome: Outcome, lines: int = END_OF_TRACE) -> str:
    """What a failed seed says: the violation, the end of the trace, and how to see it again."""
    end = "\n".join(line[:SHOWN_CHARS] for line in outcome.trace[-lines:])
    again = f"python -m tests.simulation --seed {outcome.seed}"
    return f"{end}\n\nseed {outcome.seed}: {outcome.violation}\nReplay it: {again}"


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that broke a promise, and what is said about it."""

    seed: int
    text: str


def run_chunk(chunk: range) -> tuple[Counter[str], list[Failure]]:
    """The counters of all seeds, and those that failed."""
    counters: Counter[str] = Counter()
    failed = []
    for seed in chunk:
        outcome = run_seed(seed)
        counters += outcome.counters
        if outcome.violation is not None:
            failed.append(Failure(seed, told(outcome)))
    return counters, failed


def _one(seed: int, bug: str | None) -> bool:
    outcome = run_seed(seed, None if bug is None else BUGS[bug].planted())
    print("\n".join(outcome.trace))
    print(f"seed {seed}: {outcome.violation or 'every promise kept'}; trace {outcome.digest}")
    return outcome.violation is None


def _many(seeds: range, workers: int, *, as_json: bool) -> bool:
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    counters: Counter[str] = Counter()
    failed: list[int] = []
    with ProcessPoolExecutor(workers) as pool:
        for counted, failures in pool.map(run_chunk, chunks):
            counters += counted
            failed += [failure.seed for failure in failures]
            for failure in failures:
                print(failure.text, file=sys.stderr)
    gaps = missed(counters, len(seeds))
    if as_json:
        found = {"seeds": len(seeds), "failed": failed, "missed": gaps, "counters": dict(sorted(counters.items()))}
        print(json.dumps(found, indent=2))
    else:
        print(f"{len(seeds)} seeds, {counters['applied']} steps applied; failed: {failed or 'none'}")
        print("\n".join(f"too rare: {gap}" for gap in gaps))
    return not failed and not gaps


def _hunt_all(names: list[str], most: int, workers: int, *, records: bool) -> bool:
    with ProcessPoolExecutor(workers) as pool:
        catches: list[Catch] = []
        for catch in pool.map(partial(hunt, first=0, most=most), names):
            catches.append(catch)
            tries = f"after {catch.seed + 1} seeds" if catch.seed is not None else f"NOT in {most} seeds"
            print(f"{catch.bug:36} {tries:18} {(catch.violation or '')[:140]}", flush=True)
    if records:
        record({catch.bug: catch.seed for catch in catches if catch.seed is not None})
    return all(catch.seed is not None for catch in catches)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seed", type=int, help="replay one seed with its whole trace")
    what.add_argument("--seeds", type=int, help="run so many seeds")
    what.add_argument(
        "--hunt", nargs="*", choices=[*BUGS, []], metavar="NAME", help="search these planted bugs, or all"
    )
    parser.add_argument("--bug", choices=list(BUGS), help="plant this bug in the seed")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--most", type=int, default=10_000, help="how many seeds a hunt may take")
    parser.add_argument("--record", action="store_true", help="keep the seeds that a hunt found, for the tests")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the coverage counters as JSON")
    asked = parser.parse_args()
    if asked.seed is not None:
        is_well = _one(asked.seed, asked.bug)
    elif asked.seeds is not None:
        is_well = _many(range(asked.first, asked.first + asked.seeds), asked.workers, as_json=asked.json)
    else:
        is_well = _hunt_all(asked.hunt or list(BUGS), asked.most, asked.workers, records=asked.record)
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
