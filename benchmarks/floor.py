"""The floor of a durable step: the ceiling's loop, and each answer kept before the next call. Nothing is decided.

    python -m benchmarks.floor [--on sqlite] [--executions 10] [--steps 200] [--delay-ms 0]

The answers that come while one commit is under way share the next one, as the engine's do. What is written is what the
engine writes of a plain step, with the engine's own statements: the worker's row, behind its token, its state, and the
record of the call. There are no leases to decide on, no limits, no retries, no other workers, no strict reading: it is
what an engine in Python could reach on this client and these tables if it took no time to think.
"""

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, get_args

import orjson
import uvloop

from benchmarks.app import Sink, running_sink
from benchmarks.ceiling import call_all, claim_of
from benchmarks.node import Kind
from benchmarks.part import begin_measuring
from benchmarks.processes import output_of
from benchmarks.stores import Store, Stores
from benchmarks.workload import WORKERS, Figures, Load, figures
from orchestrator.engine.group_commit import GroupCommit
from orchestrator.service.claimed import Claim
from orchestrator.store import executions, records, schema
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.transaction import Transaction

LEASE_MICROS = 30_000_000
_RESTS = dict.fromkeys(("message", "progress", "subtext"))
_WORKER: dict[str, Any] = {
    "status": "calling",
    "retry_count": 0,
    "idle_steps": 0,
    "due_at": None,
    "finished": False,
    "waits": False,
    "passed_over": False,
    "awaited": None,
    "resumes": False,
    "called_back": False,
    "early_callback": False,
    "undelivered": 0,
    "held": False,
    "refused": None,
    "node": "floor",
    "started_at": None,
}
_CALL: dict[str, Any] = {
    "attempt": 1,
    "retry_count": 0,
    "outcome": "applied",
    "failure": None,
    "http_status": 200,
    "message": None,
    "notes": None,
    "spawned": None,
    "rests": None,
    "digest": None,
    "items": 0,
    "node": "floor",
}

Step = tuple[dict[str, int], str, str]
"""The key of a worker with its step and token, its new state, and the record of the answer."""


def run(sink: Sink, store: Store, load: Load) -> Figures:
    """Run the load on a database with our tables, in a process of its own."""
    sink.forget()
    before = store.cpu_secs()
    options = {"--url": sink.url, "--database": store.url, "--executions": load.executions, "--steps": load.steps}
    options["--delay-ms"] = load.delay_ms
    told = output_of("benchmarks.floor", *(str(word) for option in options.items() for word in option))
    after = store.cpu_secs()
    store_secs = None if before is None or after is None else after - before
    return figures(sink.seen(), json.loads(told)["cpu_secs"], store_secs)


async def _run(url: str, database_url: str, load: Load) -> float:
    database = Database(DatabaseOptions(database_url))
    await database.write(_begin, load)

    async def commit(steps: Sequence[Step]) -> Sequence[None]:
        return await database.write_here(_keep, steps)

    group = GroupCommit[Step, None](commit, _refused)

    async def keep(claim: Claim, answer: dict[str, Any]) -> None:
        state = orjson.dumps(answer["updated_worker_state"]).decode()
        key = {"execution_pk": claim.execution_pk, "worker_id": claim.worker_id}
        await group.submit(({**key, "step": claim.step, "token": claim.token}, state, orjson.dumps(answer).decode()))

    try:
        return await call_all(url, load, keep)
    finally:
        await database.close()


async def _refused(_step: Step, error: Exception) -> None:
    raise error


def _begin(tx: Transaction, load: Load) -> None:
    claims = [claim_of(number, load) for number in range(load.lanes)]
    now = _micros()
    executions.insert_states_soon(
        tx,
        [
            {"execution_pk": one.execution_pk, "worker_id": one.worker_id, "state": one.worker_state, "output": None}
            for one in claims
        ],
    )
    executions.write(
        tx,
        [],
        [],
        [],
        [
            {**_worker(claim.execution_pk, claim.worker_id, claim.step, claim.token, now), "app_pk": claim.app.pk}
            | {"pull_task_pk": None}
            for claim in claims
        ],
    )


def _keep(tx: Transaction, steps: Sequence[Step]) -> Sequence[None]:
    now = _micros()
    executions.tell_soon(
        tx,
        [
            {"execution_pk": key["execution_pk"], "worker_id": key["worker_id"], "state": state, **_RESTS}
            for key, state, _ in steps
        ],
    )
    records.record_calls_soon(
        tx, [{**_CALL, **key, "answer": answer, "started_at": now, "ended_at": now} for key, _, answer in steps]
    )
    workers = [
        {
            **_worker(key["execution_pk"], key["worker_id"], key["step"] + 1, key["token"] + 1, now),
            "was_token": key["token"],
            "was_status": "calling",
        }
        for key, _, _ in steps
    ]
    if executions.write(tx, [], workers, [])[1] != len(steps):
        raise RuntimeError("a worker was not where it had been left")
    return [None] * len(steps)


def _worker(execution_pk: int, worker_id: int, step: int, token: int, now: int) -> dict[str, Any]:
    key = {"execution_pk": execution_pk, "worker_id": worker_id, "step": step, "token": token}
    return {**_WORKER, **key, "claimed_at": now, "lease_until": now + LEASE_MICROS}


def _micros() -> int:
    return time.time_ns() // 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", choices=get_args(Kind), default="sqlite")
    parser.add_argument("--executions", type=int, default=100 // WORKERS)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--delay-ms", type=int, default=0)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--database", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    load = Load(asked.executions, asked.steps, asked.delay_ms)
    if asked.url:
        print(json.dumps({"cpu_secs": uvloop.run(_run(asked.url, asked.database, load))}))
        return
    begin_measuring()
    with ExitStack() as stack:
        store = stack.enter_context(Stores(stack).open(asked.on))
        schema.upgrade(DatabaseOptions(store.url))
        print(run(stack.enter_context(running_sink()), store, load))


if __name__ == "__main__":
    main()
