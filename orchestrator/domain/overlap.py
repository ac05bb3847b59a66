"""What a launch does while an execution of the same task and `multiple_exec_key` runs."""

from dataclasses import dataclass
from typing import assert_never

from orchestrator.domain.policy import OnMultipleExec


@dataclass(frozen=True, slots=True)
class Start:
    """Begin at once, after aborting `replaces` (empty but for abort_existing)."""

    replaces: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Queue:
    """Keep it pending until the running one has ended."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not launch: `by` is in the way, running, or already waiting for the running one."""

    by: int
    is_waiting: bool = False


Verdict = Start | Queue | Refuse


def decide(policy: OnMultipleExec, running: tuple[int, ...], waiting: tuple[int, ...]) -> Verdict:
    """The verdict on a launch; `running` and `waiting` are the keys of the group's executions, oldest first.

    One with nothing left but deliveries is not in `running`, nor one with a later `run_at` in `waiting`.
    """
    match policy:
        case OnMultipleExec.ALLOW:
            return Start()
        case OnMultipleExec.DISCARD_NEW:
            return Refuse(running[0]) if running else Start()
        case OnMultipleExec.ABORT_EXISTING:
            return Start(replaces=running)
        case OnMultipleExec.RETRY_LATER:
            if waiting:
                return Refuse(waiting[0], is_waiting=True)
            return Queue() if running else Start()
        case _:
            assert_never(policy)
