"""What comes back from a call, made ready for its application: all parsing, checking and encoding that can be done
before a transaction begins. Touches nothing."""

from dataclasses import field, replace
from datetime import timedelta
from typing import Any

import orjson

from app_sdk.protocol import strict_json
from app_sdk.protocol.answer import Answer, Progress
from app_sdk.protocol.frozen import frozen
from app_sdk.protocol.limits import Limits
from app_sdk.protocol.strict_json import JsonValue
from orchestrator.domain.classify import Answered, Meaning, Unanswered, classify, refusal
from orchestrator.domain.errors import StateRefused
from orchestrator.domain.imports import batches
from orchestrator.domain.outcome import NoResponse, Response
from orchestrator.domain.worker_state import new_states
from orchestrator.service.claimed import Claim


@frozen
class ReadyAnswer:
    """A valid answer with its parts as JSON text. `state` is None where the worker's state does not change."""

    answer: Answer
    state: str | None
    spawned: dict[int, str]
    batches: tuple[tuple[str, int], ...]
    progress: str | None
    record: str


@frozen
class Report:
    """One call's outcome on its way to `apply`. `took` is what the call lasted, `came_at` when it ended.

    That is by this machine's monotonic clock, in seconds; None: it comes only now.
    `size`: how many bytes the answer had.
    `said` and `digest` come from pull executors: the JSON text of the error that one reported, and what the same
    report would be known by.
    """

    claim: Claim
    meaning: ReadyAnswer | Unanswered
    http_status: int | None
    took: timedelta
    notes: tuple[str, ...] = field(default=())
    said: str | None = None
    digest: str | None = None
    came_at: float | None = None
    size: int = 0


def report(
    claim: Claim, outcome: Response | NoResponse, limits: Limits, took: timedelta, came_at: float | None = None
) -> Report:
    """Classify the outcome and encode what it asks to be written; never raises, whatever the app sent."""
    meaning = classify(outcome, limits)
    ready, notes = _ready(claim, meaning, limits)
    size = len(outcome.body) if isinstance(outcome, Response) else 0
    return Report(claim, ready, outcome.status, took, notes, came_at=came_at, size=size)


def refused(report: Report, message: str) -> Report:
    """The report of an answer that the data refuse: nothing is applied, the worker has failed at once."""
    return replace(report, meaning=refusal(message))


def _ready(claim: Claim, meaning: Meaning, limits: Limits) -> tuple[ReadyAnswer | Unanswered, tuple[str, ...]]:
    if isinstance(meaning, Unanswered):
        return meaning, ()
    try:
        return _encode(claim, meaning, limits), _notes(claim, meaning.answer)
    except StateRefused as error:
        return refusal(str(error)), ()


def _encode(claim: Claim, meaning: Answered, limits: Limits) -> ReadyAnswer:
    answer = meaning.answer
    states = new_states(answer, claim.worker_id, claim.worker_state, limits)
    return ReadyAnswer(
        answer=answer,
        state=states.own,
        spawned=states.spawned,
        batches=tuple((_text(list(part)), len(part)) for part in batches(answer.items_to_import)),
        progress=None if answer.progress is None else _text(_progress(answer.progress)),
        record=_record(answer, states.own),
    )


def _notes(claim: Claim, answer: Answer) -> tuple[str, ...]:
    if answer.worker_id is None or answer.worker_id == claim.worker_id:
        return ()
    return (f"the answer says worker_id {answer.worker_id}; it was applied to worker {claim.worker_id}",)


def _progress(progress: Progress) -> dict[str, JsonValue]:
    return {"current": progress.current, "total": progress.total, "unit": progress.unit}


def _record(answer: Answer, state: str | None) -> str:
    """The answer as the call's record keeps it: whole, but for what has a place of its own (items, message, logs)."""
    told: dict[str, Any] = dict(answer.unknown)
    told["is_done"], told["is_error"] = answer.is_done, answer.is_error
    if state is not None:
        told["updated_worker_state"] = orjson.Fragment(state)
    if answer.app_state_mutations:
        told["app_state_mutations"] = [
            {"operation": mutation.operation, "key": mutation.key, "value": mutation.value}
            for mutation in answer.app_state_mutations
        ]
    if answer.new_workers:
        told["new_workers"] = [
            {"worker_id": new.worker_id, "initial_state": new.initial_state} for new in answer.new_workers
        ]
    if answer.delay_next_request_in_secs is not None:
        told["delay_next_request_in_secs"] = answer.delay_next_request_in_secs
    if answer.wait_for_workers:
        told["wait_for_workers"] = True
    if answer.await_callback is not None:
        parking = answer.await_callback
        told["await_callback"] = {"timeout_in_secs": parking.timeout_in_secs, "resume": parking.resume}
    if answer.progress is not None:
        told["progress"] = _progress(answer.progress)
    if answer.subtext is not None:
        told["subtext"] = answer.subtext
    if answer.output is not None:
        told["output"] = answer.output
    return _text(told)


def _text(value: Any) -> str:
    # Every part of an answer has been read strictly.
    return strict_json.rewrite(value).decode()
