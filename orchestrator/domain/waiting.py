"""Waiting for the other workers: whose turn it is when nobody else can go on, and when nobody's.

A worker that was released and waits again is passed over until something changes, so that the others have
their turn. A step without any effect is no change, or two workers that wait for each other would be called in
turn for ever.
"""

from collections.abc import Iterable

from app_sdk.protocol.answer import Answer
from orchestrator.domain.worker import Worker


def next_released(waiting: Iterable[Worker]) -> Worker | None:
    """The worker whose turn it is, the lowest id first; None if each has had it: they wait for each other."""
    return min(
        (worker for worker in waiting if not worker.passed_over),
        key=lambda worker: worker.worker_id,
        default=None,
    )


def close_turn(worker: Worker, answer: Answer, *, progressed: bool) -> bool:
    """Note whether the worker waits again; True if its answer is a change, and the others may wait anew."""
    was_released = worker.released
    # What follows an error is another try of the same turn, and needs the same results of the others.
    worker.released = was_released and answer.is_error
    worker.passed_over = was_released and answer.wait_for_workers and not answer.is_error
    return progressed or not was_released or not (answer.is_error or answer.wait_for_workers)


def wait_anew(others: Iterable[Worker]) -> set[int]:
    """Something has changed: each may be released once more. Returns the ids of those passed over so far."""
    passed_over = [worker for worker in others if worker.passed_over]
    for worker in passed_over:
        worker.passed_over = False
    return {worker.worker_id for worker in passed_over}
