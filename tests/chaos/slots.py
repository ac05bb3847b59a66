"""Many schedules due at the same instant on three nodes, one of which is killed then: no slot twice, none lost."""

import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from orchestrator.store import schema
from orchestrator.store.database import DatabaseOptions
from tests.chaos.boots import running_zygote
from tests.chaos.clock import now
from tests.chaos.databases import controlled_postgres
from tests.chaos.nodes import ChaosNode, start_all
from tests.chaos.outcome import Outcome
from tests.chaos.stage import APP_ID, SECRET, TOKEN, Stage, judge, open_stage

NODES = 3
REACHED_SECS = 180.0

# When the first slot has been launched everywhere, a manifest without schedules keeps a second from coming.
INTERVAL_SECS = {"short": 20.0, "long": 120.0}
SHORT = 200

_LAUNCHED = "SELECT count(DISTINCT task_pk) FROM occurrences WHERE outcome = 'launched'"
_BY_TASK = """
SELECT task_pk, outcome, count(DISTINCT execution_pk), count(*) FROM occurrences GROUP BY task_pk, outcome"""


def run(schedules: int, seed: int, directory: Path) -> Outcome:
    """Raises AssertionError if the slots are not all launched; the outcome tells whether each was once."""
    name = f"{seed}:slots:{schedules}"
    outcome, dice, began = Outcome("slots", "postgresql", name), random.Random(name), now()
    with controlled_postgres() as control:
        url = control.server.url("postgres")
        schema.upgrade(DatabaseOptions(url))
        with open_stage(directory, url) as stage, running_zygote(directory) as zygote:
            nodes = [ChaosNode(stage, zygote, f"node{number}") for number in range(1, NODES + 1)]
            start_all(nodes)
            _install(stage, nodes[0], schedules)
            _kill_then(stage, nodes, schedules, dice, outcome)
            for node in nodes:
                node.drain()
            outcome.take(judge(stage))
            outcome.failure = _check(stage, schedules)
    outcome.counts["schedules"] = schedules
    outcome.took_secs = now() - began
    return outcome


def _install(stage: Stage, node: ChaosNode, schedules: int) -> None:
    """All of them in one app, so that their intervals count from the same instant."""
    installed = node.client.install(_manifest(stage, schedules, is_scheduled=True), SECRET)
    assert installed.outcome == "ok", installed
    stage.learn_secret(node.url)


def _unschedule(stage: Stage, node: ChaosNode, schedules: int) -> None:
    body = {"manifest": _manifest(stage, schedules, is_scheduled=False)}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    httpx.put(f"{node.url}/v1/apps/{APP_ID}", json=body, headers=headers, timeout=60).raise_for_status()


def _manifest(stage: Stage, schedules: int, *, is_scheduled: bool) -> dict[str, Any]:
    manifest: dict[str, Any] = httpx.get(f"{stage.app}/manifest.json", params={"id": APP_ID}, timeout=10).json()
    [task] = manifest["tasks"]
    every = INTERVAL_SECS["short" if schedules <= SHORT else "long"]
    due = {"is_cron": True, "schedule": {"interval_secs": every}} if is_scheduled else {}
    manifest["tasks"] = [{**task, "id": f"{APP_ID}_{number}", **due} for number in range(schedules)]
    return manifest


def _kill_then(stage: Stage, nodes: list[ChaosNode], schedules: int, dice: random.Random, outcome: Outcome) -> None:
    """Kill a node when some of the slots are launched, and start it again."""
    threshold, until = dice.randint(1, max(1, schedules // 2)), now() + REACHED_SECS + schedules / 10
    while _launched(stage) < threshold:
        assert now() < until, "the slots are not launched"
        time.sleep(0.005)
    began = now()
    killed = dice.choice(nodes)
    killed.kill()
    outcome.counts["launched before the kill"] = _launched(stage)
    killed.start()
    killed.wait()
    stage.faults.note(began - 0.1, now() + 1, "kill -9 of a node")
    outcome.faults["kill -9 of a node"] += 1
    while _launched(stage) < schedules:
        assert now() < until, f"only {_launched(stage)} of {schedules} slots are launched"
        time.sleep(0.1)
    _unschedule(stage, killed, schedules)
    stage.rest(120)


def _launched(stage: Stage) -> int:
    return int(stage.rows(_LAUNCHED)[0][0])


def _check(stage: Stage, schedules: int) -> str:
    rows = stage.rows(_BY_TASK)
    outcomes = Counter(outcome for _, outcome, _, _ in rows)
    once = all(executions == count == 1 for _, _, executions, count in rows)
    if outcomes == {"launched": schedules} and once and len(rows) == schedules:
        return ""
    return f"{schedules} schedules: {dict(outcomes)}, each once: {once}"
