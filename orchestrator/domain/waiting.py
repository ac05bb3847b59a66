"""Waiting for the other workers: whose turn it is when nobody else can go on, and when nobody's.

A worker that has had its turn and waits again is passed over until another one changes something, so that those have
their turn too. A step without any effect is no change, or two that wait for each other would be called for ever.
"""

from collections.abc import Collection, Iterable

from app_sdk.protocol.answer import Answer
from orchestrator.domain.worker import Worker


def next_released(waiting: Iterable[Worker]) -> Worker | None:
    """The worker whose turn it is, the lowest id first; None if each has had it: they wait for each other."""
    return min(
        (worker for worker in waiting if not worker.passed_over),
        key=lambda worker: worker.worker_id,
        default=None,
    )


def close_turn(worker: Worker, answer: Answer, *, progressed: bool, is_alone: bool) -> bool:
    """Note on the worker that a step of it was closed; True if that is a change for those that wait.

    `is_alone`: no other worker is going.
    """
    was_released = worker.is_released
    if is_alone and not was_released:
        # It waits for a second time, but has done something between, and keeps nobody from a turn.
        worker.passed_over = False
    return progressed or not was_released or not (answer.is_error or answer.wait_for_workers)


def wait_anew(passed_over: Collection[Worker]) -> set[int]:
    """Something has changed: each of these may be released once more. Returns their ids."""
    for worker in passed_over:
        worker.passed_over = False
    return {worker.worker_id for worker in passed_over}
