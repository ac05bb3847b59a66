"""How long what is over is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from orchestrator.domain.states import ExecutionStatus

# A request may be repeated under its Idempotency-Key for this long, and what it launched must still be there.
SHORTEST = timedelta(hours=24)
# The built-in collector knows a batch again for at least this long, so that a second delivery changes nothing.
REDELIVERABLE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is over is kept; None, or a status that is left out: for ever."""

    executions: Mapping[ExecutionStatus, timedelta] = field(default_factory=dict)
    occurrences: timedelta | None = None
    events: timedelta | None = None
    collected_items: timedelta | None = None
