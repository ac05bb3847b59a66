"""`python -m tests.chaos`: real faults on real processes; exits 1 if a promise was broken or a run is void."""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.jobs import SCENARIOS, Job, long_form, outcome_of, short_form, start
from tests.chaos.outcome import Outcome
from tests.chaos.report import write

AT_ONCE = 2


def main() -> int:
    asked = _arguments().parse_args()
    scenarios = set(asked.only.split(",")) if asked.only else set(SCENARIOS)
    if unknown := scenarios - set(SCENARIOS):
        print(f"there is no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}", file=sys.stderr)
        return 2
    form = short_form(asked.seed) if asked.short else long_form(asked.seed)
    jobs = [job for job in form if job.scenario in scenarios]
    if asked.outcomes is None:
        with tempfile.TemporaryDirectory(prefix="chaos-outcomes-") as into:
            outcomes = _run(jobs, Path(into))
    else:
        asked.outcomes.mkdir(parents=True, exist_ok=True)
        outcomes = _run(jobs, asked.outcomes)
    if asked.report is not None:
        write(asked.report, outcomes, asked.seed, is_short=asked.short)
    bad = [outcome for outcome in outcomes if not outcome.is_good]
    print(f"{len(outcomes)} runs, {len(bad)} bad")
    return 1 if bad else 0


def _run(jobs: Sequence[Job], into: Path) -> list[Outcome]:
    """Run the jobs, two at a time. Those whose outcome is there already are not run again."""
    waiting = [job for job in jobs if outcome_of(job, into) is None]
    running: dict[str, subprocess.Popen[bytes]] = {}
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            job = waiting.pop(0)
            print(f"{time.strftime('%H:%M:%S')} begins: {job.name}", flush=True)
            running[job.name] = start(job, into)
        for name, process in list(running.items()):
            if process.poll() is not None:
                print(f"{time.strftime('%H:%M:%S')} {'is good' if not process.returncode else 'IS BAD'}: {name}")
                del running[name]
        time.sleep(0.2)
    return [_found(job, into) for job in jobs]


def _found(job: Job, into: Path) -> Outcome:
    found = outcome_of(job, into)
    return found or Outcome(job.scenario, job.database, str(job.seed), failure="it ended without an outcome")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="each scenario once, in about a minute")
    parser.add_argument("--seed", type=int, default=1, help="of every choice that is made (1)")
    parser.add_argument("--only", help=f"some of {','.join(SCENARIOS)}")
    parser.add_argument("--report", type=Path, help="where to write the report")
    parser.add_argument("--outcomes", type=Path, help="keep outcomes here; those that are there are not made again")
    return parser


if __name__ == "__main__":
    sys.exit(main())
