"""The jobs of a chaos run: each is a process of its own, so that two run side by side and none disturbs another.

`python -m tests.chaos.jobs JOB.json OUTCOME.json` runs one.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.chaos import disk_full, kill_matrix, simulated, slots, storm
from tests.chaos.databases import KINDS, Kind
from tests.chaos.failpoints import POINTS
from tests.chaos.outcome import Outcome

SCENARIOS = ("kill", "storm", "slots", "disk", "seeds", "bugs")


@dataclass(frozen=True, slots=True)
class Job:
    """`amount`: kills at each point, steps of a storm, schedules, times that the disk fills up, or simulated seeds."""

    scenario: str
    database: Kind
    amount: int
    seed: int
    points: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        points = "" if not self.points else "-all" if len(self.points) == len(POINTS) else f"-{'-'.join(self.points)}"
        return f"{self.scenario}-{self.database}{points}-{self.amount}-seed-{self.seed}"

    def run(self, directory: Path) -> Outcome:
        return _RUN[self.scenario](self, directory)


_RUN: dict[str, Callable[[Job, Path], Outcome]] = {
    "kill": lambda job, at: kill_matrix.run(job.database, job.points, job.amount, job.seed, at),
    "storm": lambda job, at: storm.run(storm.Size.of(job.amount), job.seed, at),
    "slots": lambda job, at: slots.run(job.amount, job.seed, at),
    "disk": lambda job, at: disk_full.run(job.database, job.amount, job.seed, at),
    "seeds": lambda job, at: simulated.seeds(job.amount, job.seed, at),
    "bugs": lambda job, at: simulated.bugs(job.amount, job.seed, at),
}


def long_form(seed: int) -> list[Job]:
    """At least 2,400 kills at the twelve points on both databases, a storm of 200,000 steps, and 10,000 seeds."""
    return [
        Job("storm", "postgresql", 200_000, seed),
        *(Job("kill", kind, 100, seed, (point,)) for kind in KINDS for point in POINTS),
        Job("slots", "postgresql", 1000, seed),
        *(Job("disk", kind, 20, seed) for kind in KINDS),
        Job("seeds", "sqlite", 10_000, seed),
        Job("bugs", "sqlite", 10_000, seed),
    ]


def short_form(seed: int) -> list[Job]:
    """Each scenario of real faults once, in about a minute on two cores; the simulation has its own short form."""
    return [
        Job("storm", "postgresql", 2000, seed),
        *(Job("kill", kind, 1, seed, tuple(POINTS)) for kind in KINDS),
        Job("slots", "postgresql", 100, seed),
        *(Job("disk", kind, 1, seed) for kind in KINDS),
    ]


def start(job: Job, into: Path) -> subprocess.Popen[bytes]:
    """Run a job in a process of its own; its outcome will be in `into`, under its name."""
    order = into / f"{job.name}.job"
    order.write_text(json.dumps(asdict(job)))
    return subprocess.Popen([sys.executable, "-m", "tests.chaos.jobs", str(order), str(into / f"{job.name}.json")])


def outcome_of(job: Job, into: Path) -> Outcome | None:
    """What the job has left; None if it has not been run to its end."""
    path = into / f"{job.name}.json"
    return Outcome.read(path) if path.exists() else None


def run_here(job: Job) -> Outcome:
    """Run a job in this process; what goes wrong is told in the outcome. The files of a bad run are kept."""
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        outcome = job.run(directory)
    except Exception:  # noqa: BLE001 - the report tells it
        outcome = Outcome(job.scenario, job.database, str(job.seed), failure=traceback.format_exc())
    if outcome.is_good:
        shutil.rmtree(directory)
    else:
        print(f"{job.name}: its files are in {directory}\n{outcome.failure}{outcome.findings}", file=sys.stderr)
    return outcome


def main(arguments: Sequence[str]) -> int:
    told = json.loads(Path(arguments[0]).read_text())
    outcome = run_here(Job(**{**told, "points": tuple(told["points"])}))
    outcome.write(Path(arguments[1]))
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
