"""The storm: three nodes on one PostgreSQL, and everything that can happen to them, while 200,000 steps are done."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from orchestrator.store import schema
from orchestrator.store.database import DatabaseOptions
from tests.chaos.boots import running_zygote
from tests.chaos.clock import now
from tests.chaos.databases import PostgresControl, controlled_postgres
from tests.chaos.load import Load
from tests.chaos.nodes import ChaosNode, Stopped, start_all
from tests.chaos.outcome import Outcome
from tests.chaos.stage import APP_ID, SECRET, Stage, judge, open_stage, request_times, tail

# A call that a fault cut off may have been answered, and not been applied, a moment before it.
LEAD_SECS = 0.1
# After a disaster of the database nodes find their feet again; what was in flight is fenced or applied by then.
AFTER_SECS = 1.0
NODES = 3
# Past the lease, and past the time in which PostgreSQL ends the transactions that the stopped node has left open, one
# after the other where they wait for each other: until then nobody can take over the executions that it has locked.
STOPPED_SECS = 20.0
LONGEST_SECS = 3600.0

_FAULTY_APP = {"error": 0.01, "status": 0.01, "reset": 0.005, "late": 0.01}
_APPLIED_LATE = """
SELECT count(*) FROM calls
 WHERE node = %s AND outcome IN ('applied', 'failed') AND started_at < %s AND ended_at >= %s"""
_TAKEN_OVER = "SELECT count(*) FROM calls WHERE node = %s AND outcome = 'lost' AND started_at < %s AND ended_at >= %s"
_CUT_OFF = "SELECT count(*) FROM calls WHERE node = %s AND outcome = 'lost' AND ended_at >= %s"
_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'orchestrator' AND pid <> pg_backend_pid()"


@dataclass(frozen=True, slots=True)
class Size:
    """How large a storm is. A node is killed every `kill_every_secs`; what a disaster delays is caught up on.

    A phase of a disaster lasts `phase_secs`.
    """

    steps: int
    open_at_once: int
    kill_every_secs: float
    phase_secs: float
    plan: dict[str, Any]

    @classmethod
    def of(cls, steps: int) -> "Size":
        common = {"helpers": 9, "items": 1, "keys": 2, "think_secs": 0.005, "late_secs": 0.3, "faults": _FAULTY_APP}
        if steps < 10_000:
            return cls(steps, 6, 2.0, 1.0, {**common, "rounds": 1, "steps": 5})
        return cls(steps, 12, 10.0, 5.0, {**common, "rounds": 2, "steps": 10})


@dataclass(slots=True)
class _Storm:
    stage: Stage
    control: PostgresControl
    nodes: list[ChaosNode]
    size: Size
    dice: random.Random
    outcome: Outcome
    stopped: list[Stopped] = field(default_factory=list)
    drained: list[tuple[str, int]] = field(default_factory=list)
    """Who was asked to stop in good order, and since when (microseconds)."""
    back: list[float] = field(default_factory=list)
    next_kill: float = 0.0

    @contextmanager
    def window(self, what: str, after_secs: float = 0.0) -> Iterator[None]:
        """What is done in the block may be felt from a moment before it until a moment after."""
        begin = now()
        yield
        self.stage.faults.note(begin - LEAD_SECS, now() + after_secs, what)

    def kill_one(self) -> None:
        node = self.dice.choice(self.nodes)
        with self.window("kill -9 of a node"):
            node.kill()
            node.start()
            node.wait()

    def kill_all(self) -> None:
        with self.window("kill -9 of all nodes"):
            for node in self.nodes:
                node.kill()
            start_all(self.nodes)

    def restart(self, what: str, restart: Callable[[], None]) -> None:
        """Of PostgreSQL. No node may end because of it."""
        with self.window(what, AFTER_SECS):
            restart()
            self.back.append(now())
            for node in self.nodes:
                node.wait()
        assert all(node.running.is_up for node in self.nodes), "a node has ended"

    def terminate_backends(self) -> None:
        with (
            self.window("phase of pg_terminate_backend", AFTER_SECS),
            psycopg.connect(self.stage.url, autocommit=True) as operator,
        ):
            until = now() + self.size.phase_secs
            while now() < until:
                backends = [pid for (pid,) in operator.execute(_BACKENDS)]
                if backends:
                    operator.execute("SELECT pg_terminate_backend(%s)", (self.dice.choice(backends),))
                    self.outcome.counts["terminated backends"] += 1
                time.sleep(0.2)

    def stop_one(self) -> None:
        node = self.dice.choice(self.nodes)
        with self.window("SIGSTOP past the lease", AFTER_SECS):
            self.stopped.append(node.stop_for(STOPPED_SECS))
            node.wait()

    def roll(self) -> None:
        """Replace every node in good order: that nothing is felt of it, no window excuses."""
        for node in self.nodes:
            self.drained.append((node.identity(), time.time_ns() // 1000))
            self.outcome.times.setdefault("drain", []).append(node.drain())
            node.start()
            node.wait()
            self.stage.faults.note(0, 0, "SIGTERM of a node")

    def spoil_collector(self) -> None:
        """Nothing of it may reach the steps: no window excuses them."""
        for mode in ({"mode": "down"}, {"mode": "refuse"}, {"mode": "ok", "delay_secs": 2}, {"mode": "half"}):
            self.stage.set_collector(**mode)
            time.sleep(self.size.phase_secs / 2)
            what = "slow" if "delay_secs" in mode else {"refuse": "answers 503"}.get(str(mode["mode"]), mode["mode"])
            self.stage.faults.note(0, 0, f"collector {what}")
        self.stage.set_collector(mode="ok")

    def disasters(self) -> list[Callable[[], None]]:
        """One of each, in an order that the seed decides."""
        all_ = [
            lambda: self.restart("PostgreSQL restart -m fast", lambda: self.control.restart("fast")),
            lambda: self.restart("PostgreSQL restart -m immediate", lambda: self.control.restart("immediate")),
            lambda: self.restart("kill -9 of the postmaster", self.control.kill),
            self.terminate_backends,
            self.stop_one,
            self.roll,
            self.spoil_collector,
            self.kill_all,
        ]
        return self.dice.sample(all_, len(all_))

    def rage(self, load: Load) -> None:
        """Disasters, each at least once, and kills between them, for as long as there is load."""
        until = now() + LONGEST_SECS
        self.next_kill = now() + self.size.kill_every_secs
        while True:
            for disaster in self.disasters():
                assert now() < until, "the storm takes too long"
                self.calm()
                disaster()
            if load.has_enough:
                return

    def calm(self) -> None:
        """Let some seconds pass in which everything must work, but for the kills that are due by now."""
        until = now() + self.size.kill_every_secs / 2
        while now() < until or self.next_kill <= now():
            if self.next_kill <= now():
                self.kill_one()
                self.next_kill += self.size.kill_every_secs
            time.sleep(0.1)


def run(size: Size, seed: int, directory: Path) -> Outcome:
    """The whole storm. Raises AssertionError if a node ends on its own, or if not everything comes to its end."""
    name = f"{seed}:storm:{size.steps}"
    outcome = Outcome("storm", "postgresql", name)
    began = now()
    with controlled_postgres() as control:
        url = control.server.url("postgres")
        schema.upgrade(DatabaseOptions(url))
        with open_stage(directory, url) as stage, running_zygote(directory) as zygote:
            nodes = [ChaosNode(stage, zygote, f"node{number}") for number in range(1, NODES + 1)]
            storm = _Storm(stage, control, nodes, size, random.Random(name), outcome)
            start_all(nodes)
            install(stage, nodes[0])
            _weather(storm)
            outcome.faults += stage.faults.counts
            outcome.take(judge(stage))
            outcome.failure = "\n".join(_broken_promises(storm))
            outcome.times["database back to next call"] = _resumed(storm)
    outcome.took_secs = now() - began
    return outcome


def install(stage: Stage, node: ChaosNode) -> None:
    """Install the witness app, and learn how deliveries are signed."""
    manifest = httpx.get(f"{stage.app}/manifest.json", params={"id": APP_ID}, timeout=10).json()
    installed = node.client.install(manifest, SECRET)
    assert installed.outcome == "ok", installed
    stage.learn_secret(node.url)


def _weather(storm: _Storm) -> None:
    load = Load(storm.stage, storm.nodes, storm.size.plan, storm.size.steps, storm.size.open_at_once)
    load.start()
    storm.rage(load)
    load.finish()
    storm.outcome.times["rest"] = [storm.stage.rest(120)]
    for node in storm.nodes:
        assert node.running.is_up, tail(node.running.log)
        storm.outcome.times.setdefault("drain", []).append(node.drain())


def _broken_promises(storm: _Storm) -> Iterator[str]:
    """What the history alone does not tell: who applied an answer, and whose calls were cut off."""
    for stopped in storm.stopped:
        [(count,)] = storm.stage.rows(_APPLIED_LATE, (stopped.identity, stopped.begin, stopped.end))
        if count:
            yield f"{stopped.identity} was stopped past its lease, and applied {count} answers to calls of before"
        # What was lost while its node stood still cannot be recorded as fenced too: it is one call, and one record.
        [(count,)] = storm.stage.rows(_TAKEN_OVER, (stopped.identity, stopped.begin, stopped.begin))
        storm.outcome.counts["taken over from a stopped node"] += count
    for identity, since in storm.drained:
        # What it has lost before, it lost by another disaster.
        [(count,)] = storm.stage.rows(_CUT_OFF, (identity, since))
        if count:
            yield f"{identity} was asked to stop in good order, and {count} of its calls were lost"


def _resumed(storm: _Storm) -> list[float]:
    requests = request_times(storm.stage.directory / "app.jsonl")
    return [min((at for at in requests if at > back), default=float("inf")) - back for back in storm.back]
