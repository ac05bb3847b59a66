"""Where the product meets the world: its callers, clocks, ids and timer, replaced while a world runs.

Everything else of a node is the product's own, wired by its own `Node`.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import structlog

from app_sdk.protocol.signing import Signer
from orchestrator.engine import dispatcher, gathering, registrar, request, scheduler, sleeping
from orchestrator.engine.caller import Request
from orchestrator.engine.request import RequestOptions
from orchestrator.runtime import node, node_options
from orchestrator.service.claimed import Claim
from orchestrator.store import listening, transaction
from tests.simulation.loop import PROCESS, VirtualLoop
from tests.simulation.network import Receiver, SimulatedCaller
from tests.simulation.profile import TIMEOUT_SECS
from tests.simulation.store import instant


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the product is given instead of the real world. `log` is told the event and the error, if any."""

    loop: VirtualLoop
    seed: int
    app: Receiver
    collector: Receiver
    log: Callable[[str, str], None]


class Ids:
    """Ids that are new each time and the same in each run. They are UUIDs of version 7."""

    def __init__(self, seed: int) -> None:
        self._prefix = random.Random(f"ids {seed}").getrandbits(40)
        self._count = 0

    def new_id(self) -> str:
        self._count += 1
        return f"01900000-{self._prefix & 0xFFFF:04x}-7000-8000-{self._count:012x}"


class _Timer:
    """In the place of APScheduler, which reads the machine's clock: rings once, by the node's wall clock."""

    running = False

    def __init__(self, **_options: Any) -> None:
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self.running = True

    def add_job(self, ring: Callable[[], Any], at: datetime, **_options: Any) -> None:
        loop = asyncio.get_running_loop()
        if self._handle is not None:
            self._handle.cancel()
        secs = max(0.0, (at - _wall_clock(loop)).total_seconds())
        self._handle = loop.call_later(secs, lambda: loop.create_task(ring()))

    def shutdown(self, **_options: Any) -> None:
        self.running = False
        if self._handle is not None:
            self._handle.cancel()


def _wall_clock(loop: asyncio.AbstractEventLoop) -> datetime:
    assert isinstance(loop, VirtualLoop)
    return instant(loop.micros) + timedelta(seconds=PROCESS.get().skew_secs)


@contextmanager
def seams(around: Surroundings) -> Iterator[Ids]:
    """Replace what a world must control; everything is as before when the block ends."""
    ids = Ids(around.seed)
    clock = SimpleNamespace(time=lambda: _wall_clock(around.loop).timestamp())
    real_build = request.build

    def build(claim: Claim, signer: Signer, options: RequestOptions) -> Request:
        made = real_build(claim, signer, options)
        return replace(made, headers={**made.headers, "simulation-token": str(claim.token)})

    replaced: dict[tuple[object, str], object] = {
        (node_options, "caller"): lambda _settings: SimulatedCaller(around.app, TIMEOUT_SECS),
        (node_options, "collector_caller"): lambda _settings: SimulatedCaller(around.collector, TIMEOUT_SECS),
        (node, "uuid"): SimpleNamespace(uuid4=lambda: PROCESS.get().name),
        (node, "new_id"): ids.new_id,
        (node_options, "time"): clock,
        (scheduler, "AsyncIOScheduler"): _Timer,
        (scheduler, "DateTrigger"): lambda at: at,
        (scheduler, "datetime"): SimpleNamespace(now=lambda _zone: _wall_clock(around.loop)),
        (registrar, "datetime"): SimpleNamespace(now=lambda _zone: _wall_clock(around.loop)),
        # Rings are not heard here: polling is the truth.
        (listening, "notify"): lambda _tx: None,
        (dispatcher, "build"): build,
        (dispatcher, "monotonic"): around.loop.time,
        (gathering, "monotonic"): around.loop.time,
        (sleeping, "monotonic"): around.loop.time,
        (transaction, "monotonic"): around.loop.time,
    }
    state = random.getstate()
    configuration = structlog.get_config()
    with ExitStack() as stack:
        for (module, name), substitute in replaced.items():
            stack.enter_context(patch.object(module, name, substitute))
        random.seed(around.seed)
        structlog.configure(processors=[_listener(around.log)], cache_logger_on_first_use=False)
        try:
            yield ids
        finally:
            structlog.configure(**configuration)
            random.setstate(state)


def _listener(log: Callable[[str, str], None]) -> Callable[..., Any]:
    def listen(_logger: object, level: str, event: MutableMapping[str, Any]) -> Any:
        if level in ("warning", "error", "critical"):
            log(str(event.get("event")), str(event.get("error", "")))
        raise structlog.DropEvent

    return listen
