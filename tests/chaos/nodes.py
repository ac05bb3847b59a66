"""Three nodes on one PostgreSQL, each killed, stopped, drained and started again by its pid."""

import json
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.boots import Boot, Zygote
from tests.chaos.clock import now
from tests.chaos.stage import TOKEN, Stage, tail, wait_ready
from tests.history.witness.client import RecordingClient
from tests.support.ports import free_port

LEASE_SECS = 6.0
DRAIN_SECS = 25.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """A node that was stopped; the times are microseconds of the wall clock, as the database has them."""

    identity: str
    begin: int
    end: int


@dataclass(slots=True)
class ChaosNode:
    """A node through all its boots. `is_away`: a client is not to be sent there now."""

    stage: Stage
    zygote: Zygote
    name: str
    port: int = field(default_factory=free_port)
    boots: int = 0
    is_away: bool = True
    boot: Boot | None = None
    client: RecordingClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = RecordingClient(self.url, TOKEN, self.stage.directory / f"client-{self.name}.jsonl")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> Boot:
        assert self.boot is not None
        return self.boot

    def start(self) -> None:
        """Boot; `wait` says when it is ready."""
        self.boots += 1
        log = self.stage.directory / f"{self.name}-{self.boots}.log"
        environment = self.stage.environment(
            self.port,
            self.name,
            ORCHESTRATOR_WEBHOOK__TIMEOUT_SECS="1",
            ORCHESTRATOR_ENGINE__LEASE_SECS=f"{LEASE_SECS:g}",
            ORCHESTRATOR_ENGINE__DRAIN_SECS=f"{DRAIN_SECS:g}",
            ORCHESTRATOR_LOG__LEVEL="info",
        )
        self.boot = self.zygote.boot(environment, log)

    def wait(self) -> None:
        """Wait until it takes requests. Raises AssertionError if it has ended instead."""
        assert wait_ready(self.port, self.running, 60), tail(self.running.log)
        self.is_away = False

    def kill(self) -> None:
        self.is_away = True
        self.running.signal(signal.SIGKILL)
        assert self.running.wait() == -signal.SIGKILL, tail(self.running.log)

    def drain(self) -> float:
        """SIGTERM; returns how long it took to stop. Raises AssertionError unless it ends well and in time."""
        self.is_away = True
        began = now()
        self.running.signal(signal.SIGTERM)
        assert self.running.wait(DRAIN_SECS + 10) == 0, tail(self.running.log)
        return now() - began

    def identity(self) -> str:
        """What the present boot calls itself in the records of calls."""
        for line in self.running.log.read_text().splitlines():
            if line.startswith("{") and (told := json.loads(line)).get("event") == "serving":
                return str(told["node"])
        raise AssertionError(f"{self.name} does not say who it is:\n{tail(self.running.log)}")

    def stop_for(self, secs: float) -> Stopped:
        """SIGSTOP, and SIGCONT after so long."""
        self.is_away = True
        identity, begin = self.identity(), time.time_ns() // 1000
        self.running.signal(signal.SIGSTOP)
        try:
            time.sleep(secs)
        finally:
            end = time.time_ns() // 1000
            self.running.signal(signal.SIGCONT)
        self.is_away = False
        return Stopped(identity, begin, end)


def start_all(nodes: Sequence[ChaosNode]) -> None:
    """Boot them side by side, and wait until all are ready."""
    for node in nodes:
        node.start()
    for node in nodes:
        node.wait()
