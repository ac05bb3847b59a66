"""The bare ceiling: the engine's own HTTP client in a loop, same payload, signed, 100 in flight, and no database.

    python -m benchmarks.ceiling [--lanes 100] [--steps 200] [--delay-ms 0]

Each lane builds and signs the payload of its step, calls, and takes the new state out of the answer for the next one.
It runs in a process of its own on the event loop that the server uses, as the node that it is compared with does.
"""

import argparse
import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import uvloop

from app_sdk.protocol.signing import Signer
from benchmarks.app import Sink, running_sink
from benchmarks.part import begin_measuring
from benchmarks.processes import output_of
from benchmarks.workload import APPS, SECRET, Figures, Load, figures, state_of
from orchestrator.domain.outcome import Response
from orchestrator.domain.policy import Delivery
from orchestrator.engine.caller import Caller, CallerOptions, open_caller
from orchestrator.engine.request import RequestOptions, build
from orchestrator.service.callback_urls import CallbackSigner
from orchestrator.service.claimed import Claim
from orchestrator.service.vault import Vault
from orchestrator.store.apps import AppFacts

API = "http://127.0.0.1:8400"

Keep = Callable[[Claim, dict[str, Any]], Awaitable[None]]


def run(sink: Sink, load: Load) -> Figures:
    """Run the load in a process of its own; each of its workers is a lane of the loop."""
    sink.forget()
    options = {"--url": sink.url, "--lanes": load.lanes, "--steps": load.steps, "--delay-ms": load.delay_ms}
    told = output_of("benchmarks.ceiling", *(str(word) for option in options.items() for word in option))
    return figures(sink.seen(), json.loads(told)["cpu_secs"], None)


async def call_all(url: str, load: Load, keep: Keep | None = None) -> float:
    """Seconds of CPU that the loop has taken. `keep` is awaited with each answer, between its step and the next."""
    caller = open_caller(CallerOptions(allow_private_addresses=True), clock=time.time)
    vault = Vault("of the benchmark")
    options = RequestOptions(
        API, f"{API}/collector", 20.0, 10 * 2**20, True, "orchestrator", time.time, CallbackSigner(vault)
    )
    endpoint = f"{url}webhook?delay_ms={load.delay_ms}" if load.delay_ms else f"{url}webhook"
    spare_the_collector()
    began = time.process_time()
    await asyncio.gather(
        *(_lane(caller, options, claim_of(number, load, endpoint), keep) for number in range(load.lanes))
    )
    taken = time.process_time() - began
    await caller.close()
    return taken


async def _lane(caller: Caller, options: RequestOptions, claim: Claim, keep: Keep | None) -> None:
    signer = Signer(SECRET)
    while True:
        outcome = await caller.post(build(claim, signer, options))
        assert isinstance(outcome, Response), outcome
        answer: dict[str, Any] = orjson.loads(outcome.body)
        if keep is not None:
            await keep(claim, answer)
        if answer["is_done"]:
            return
        # The one claim goes on: to make another would be the orchestrator's work, not the call's.
        claim.worker_state = orjson.dumps(answer["updated_worker_state"]).decode()  # type: ignore[misc]
        claim.step += 1  # type: ignore[misc]
        claim.token += 1  # type: ignore[misc]


def spare_the_collector() -> None:
    """As the server does, see `orchestrator.runtime.server`."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def claim_of(number: int, load: Load, endpoint: str = "") -> Claim:
    """What a lane begins with: the first step of a worker."""
    app = AppFacts(
        pk=number % APPS,
        workspace_id="default",
        id=f"app_bench{number % APPS}",
        status="active",
        webhook_endpoint=endpoint,
        secret_encrypted="",
        verify_tls=None,
        is_rate_limited=False,
        unanswered_calls=0,
        state="{}",
    )
    uid = f"01a1fc13-1941-7ab5-8661-{number // 10:012x}"
    return Claim(
        execution_pk=number // 10,
        uid=uid,
        execution_id=uid,
        created_at=datetime.now(UTC),
        attempt=1,
        task_id=f"{app.id}_run",
        task_name="Run",
        delivery=Delivery.AT_LEAST_ONCE,
        worker_id=number % 10,
        step=0,
        token=1,
        retry_count=0,
        claimed_at=datetime.now(UTC),
        worker_state=orjson.dumps(state_of(load)).decode(),
        workers=json.dumps({str(worker_id): "calling" for worker_id in range(10)}),
        worker_results=None,
        callback=None,
        app=app,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lanes", type=int, default=100)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--delay-ms", type=int, default=0)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    load = Load(asked.lanes // 10, asked.steps, asked.delay_ms)
    if asked.url:
        print(json.dumps({"cpu_secs": uvloop.run(call_all(asked.url, load))}))
        return
    begin_measuring()
    with running_sink() as sink:
        print(run(sink, load))


if __name__ == "__main__":
    main()
