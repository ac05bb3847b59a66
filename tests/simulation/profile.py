"""What a seed stands for: how many nodes, which faults at which rates, how much work.

Each seed enables a subset of the faults only, with rates of its own: some faults hide others when all are always on.
"""

import random
from dataclasses import dataclass
from typing import Any

CHAOS_SECS = (4.0, 14.0)
TIMEOUT_SECS = 8.0
LEASE_SECS = 14.0
NODE_TIMEOUT_SECS = 5.0
DRAIN_SECS = 5.0
NODE_NAME = "sim"

# The highest rate of each fault. Per call of the app:
APP_FAULTS = {
    "unsent": 0.15,
    "reset": 0.15,
    "timeout": 0.08,
    "status_500": 0.15,
    "status_429": 0.15,
    "status_404": 0.08,
    "status_400": 0.06,
    "status_410": 0.05,
    "invalid": 0.12,
    "refused": 0.1,
    "is_error": 0.2,
    "is_error_done": 0.04,
    "idle": 0.2,
    "slow": 0.3,
    "flood": 0.8,
}
# Per delivery to the collector:
COLLECTOR_FAULTS = {"collector_500": 0.8, "collector_lost": 0.4, "collector_422": 0.15, "collector_slow": 0.3}
# Per transaction:
DATABASE_FAULTS = {
    "refused_commit": 0.05,
    "unknown_commit": 0.06,
    "crash_before_commit": 0.01,
    "crash_after_commit": 0.015,
    "pause_after_commit": 0.02,
}
# Per second, in the whole world:
WORLD_FAULTS = {
    "crash": 0.1,
    "pause": 0.1,
    "drain": 0.06,
    "away": 0.06,
    "collector_down": 0.15,
    "clock_jump": 0.1,
    "rescue": 0.5,
    "promote": 0.5,
    "launch_due": 0.3,
    "abort": 0.3,
    "retry": 0.5,
    "resume": 0.2,
    "stop_app": 0.15,
    "redeliver": 0.2,
    "discard": 0.3,
    "pause_task": 0.05,
}
SHARE_OF_FAULTS = 0.4


@dataclass(frozen=True, slots=True)
class Profile:
    """The nature of one world. Rates are probabilities, or in the case of WORLD_FAULTS events a second."""

    seed: int
    nodes: int
    is_embedded: bool
    """One node that has the database alone, as on SQLite: no leases are watched, claims are void at boot."""
    has_schedule: bool
    chaos_secs: float
    latency_secs: float
    call_secs: float
    poll_secs: float
    concurrency: int
    launches: int
    longest: int
    rates: dict[str, float]

    def rate(self, fault: str) -> float:
        return self.rates.get(fault, 0.0)

    def settings(self) -> dict[str, Any]:
        """The server's settings in this world."""
        return {
            "server": {"name": NODE_NAME},
            "database": {"listen_url": "off"},
            "engine": {
                "poll_interval_secs": self.poll_secs,
                "lease_secs": LEASE_SECS,
                "node_timeout_secs": NODE_TIMEOUT_SECS,
                "drain_secs": DRAIN_SECS,
                "concurrency": self.concurrency,
                "import_concurrency": 3,
            },
            "webhook": {"timeout_secs": TIMEOUT_SECS},
            "retry": {"max_retries": 4, "initial_delay_secs": 1, "multiplier": 2, "max_delay_secs": 4},
        }


def draw(seed: int) -> Profile:
    """The world of a seed."""
    dice = random.Random(f"profile {seed}")
    nodes = dice.choice((1, 1, 2, 2, 2, 2, 3, 4))
    rates = {
        fault: highest * dice.uniform(0.2, 1.0)
        for highests in (APP_FAULTS, COLLECTOR_FAULTS, DATABASE_FAULTS, WORLD_FAULTS)
        for fault, highest in highests.items()
        if dice.random() < SHARE_OF_FAULTS
    }
    return Profile(
        seed=seed,
        nodes=nodes,
        is_embedded=nodes == 1 and dice.random() < 0.6,
        has_schedule=dice.random() < 0.35,
        chaos_secs=dice.uniform(*CHAOS_SECS),
        latency_secs=dice.choice((0.002, 0.02, 0.15)),
        call_secs=dice.choice((0.05, 0.5, 1.5)),
        poll_secs=dice.choice((2.0, 4.0, 8.0)),
        concurrency=dice.choice((1, 3, 20)),
        launches=dice.choice((1, 2, 2, 3, 4)),
        longest=dice.randint(1, 5),
        rates=rates,
    )
