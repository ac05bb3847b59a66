"""kill -9 at each of the twelve points of a step, many times in one long history, on one node."""

import json
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.chaos.boots import ArmedPoint, Boot, Zygote, running_zygote
from tests.chaos.clock import now
from tests.chaos.databases import Kind, fresh_database
from tests.chaos.failpoints import POINTS
from tests.chaos.outcome import Outcome
from tests.chaos.stage import APP_ID, SECRET, TASK_ID, TOKEN, Stage, judge, open_stage, tail, wait_ready
from tests.history.witness.client import RecordingClient
from tests.support.ports import free_port

# An answer may have come, and its commit have been under way, for a moment before the process ended.
LEAD_SECS = 0.3
HIT_SECS = 60.0
REST_SECS = 300.0
LAUNCH_EVERY_SECS = 0.5
ENOUGH_UNFINISHED = 12

_PLAN = {
    "helpers": 9,
    "rounds": 2,
    "steps": 2,
    "items": 2,
    "keys": 2,
    "think_secs": 0.005,
    "late_secs": 0.3,
    "faults": {"error": 0.02, "status": 0.02, "reset": 0.01, "late": 0.02},
}


@dataclass(slots=True)
class _Killing:
    """One history: `kills` tells when each process ended."""

    stage: Stage
    zygote: Zygote
    port: int
    client: RecordingClient
    dice: random.Random
    seed: str
    boots: list[float]
    kills: list[float]
    launches: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def boot(self, point: ArmedPoint | None) -> Boot:
        log = self.stage.directory / "server.log"
        # Each boot gives the app another address of its API: so its calls are told from those of the one before,
        # which may be read by the app when that one is long dead.
        public_url = f"{self.url}/boots/{len(self.boots)}"
        environment = self.stage.environment(self.port, ORCHESTRATOR_SERVER__PUBLIC_URL=public_url)
        boot = self.zygote.boot(environment, log, point)
        self.boots.append(boot.began)
        return boot

    def kill_at(self, name: str) -> None:
        """Boot with the point armed, give it work, and wait for the death."""
        mark = self.stage.directory / "mark"
        mark.unlink(missing_ok=True)
        hits = self.dice.randint(1, POINTS[name].most_hits)
        boot = self.boot(ArmedPoint(name, hits, str(mark), f"{self.seed}:{len(self.kills)}"))
        if wait_ready(self.port, boot):
            self._load_until_end(boot)
        if boot.status is None:
            raise AssertionError(f"{name} was not reached {hits} times in {HIT_SECS:g} s:\n{tail(boot.log)}")
        assert boot.status == -9, f"ended with {boot.status} instead of being killed:\n{tail(boot.log)}"
        assert mark.exists(), f"killed, but not at {name}"
        self.kills.append(float(mark.read_text()))

    def _load_until_end(self, boot: Boot) -> None:
        until = now() + HIT_SECS
        while boot.is_up and now() < until:
            if self.stage.unfinished() < ENOUGH_UNFINISHED:
                self.launch()
            boot.wait(LAUNCH_EVERY_SECS)

    def launch(self) -> None:
        self.launches += 1
        id_ = f"e{self.launches}"
        self.client.launch(TASK_ID, {**_PLAN, "seed": self.launches}, key=id_, id=id_)


def run(kind: Kind, points: Sequence[str], kills: int, seed: int, directory: Path) -> Outcome:
    """`kills` at each of the points, one history for all of them. Raises AssertionError if a point is not reached."""
    name = f"{seed}:kill:{kind}:{'+'.join(points) if len(points) < len(POINTS) else 'all'}"
    outcome = Outcome("kill", kind, name)
    began = now()
    with (
        fresh_database(kind, directory) as url,
        open_stage(directory, url) as stage,
        running_zygote(directory) as zygote,
    ):
        port = free_port()
        client = RecordingClient(f"http://127.0.0.1:{port}", TOKEN, directory / "client.jsonl")
        killing = _Killing(stage, zygote, port, client, random.Random(name), name, [], [])
        _install(killing)
        for point in points:
            for _ in range(kills):
                killing.kill_at(point)
            outcome.faults[point] += kills
        last = killing.boot(None)
        assert wait_ready(port, last), tail(last.log)
        # The one before may have been killed with the last of its work, and this one would have nothing to call for.
        killing.launch()
        _note_windows(killing)
        outcome.times["rest"] = [stage.rest(REST_SECS)]
        outcome.take(judge(stage))
        outcome.times |= _resume_times(killing)
    outcome.took_secs = now() - began
    return outcome


def _install(killing: _Killing) -> None:
    """A first, unarmed boot: install the app, and stop in good order."""
    boot = killing.boot(None)
    assert wait_ready(killing.port, boot), tail(boot.log)
    manifest = httpx.get(f"{killing.stage.app}/manifest.json", params={"id": APP_ID}, timeout=10).json()
    installed = killing.client.install(manifest, SECRET)
    assert installed.outcome == "ok", installed
    killing.stage.learn_secret(killing.url)
    boot.signal(signal.SIGTERM)
    assert boot.wait() == 0, tail(boot.log)
    killing.boots.clear()


def _note_windows(killing: _Killing) -> None:
    """From each kill until a server that followed made its first call: nothing can be asked of it in between."""
    until = now() + 10
    last = len(killing.boots) - 1
    while last not in (calls := _first_calls(killing)):
        assert now() < until, "the last server calls nobody"
        time.sleep(0.05)
    for number, killed in enumerate(killing.kills):
        end = min(at for boot, at in calls.items() if boot > number)
        killing.stage.faults.note(killed - LEAD_SECS, end, "kill -9")


def _resume_times(killing: _Killing) -> dict[str, list[float]]:
    """From the order to boot until the app was called, by every server that lived for so long."""
    calls = _first_calls(killing)
    return {"boot to first call": [at - killing.boots[boot] for boot, at in sorted(calls.items())]}


def _first_calls(killing: _Killing) -> dict[int, float]:
    """When the app got the first call of each boot that called it."""
    found: dict[int, float] = {}
    with (killing.stage.directory / "app.jsonl").open() as lines:
        for line in lines:
            if line.startswith('{"event":"request"') and line.endswith("\n"):
                told = json.loads(line)
                boot = int(json.loads(told["body"])["api_endpoint"].rpartition("/")[2])
                found.setdefault(boot, told["at"])
    return found
