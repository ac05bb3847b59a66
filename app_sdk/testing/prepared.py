"""From what came back to what can be applied: the checks that a server makes before it writes."""

from collections.abc import Sequence
from dataclasses import dataclass

from app_sdk.protocol.answer import Answer
from app_sdk.protocol.limits import Limits
from app_sdk.protocol.strict_json import JsonError, JsonValue
from orchestrator.domain.app_state import encoded, mutated
from orchestrator.domain.classify import Unanswered, classify, refusal
from orchestrator.domain.errors import StateRefused
from orchestrator.domain.imports import batches
from orchestrator.domain.outcome import NoResponse, Response
from orchestrator.domain.worker_state import new_states

AppState = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A valid answer that the data accept. `state` is None where the worker's state does not change."""

    answer: Answer
    state: str | None
    spawned: dict[int, str]
    batches: Sequence[Sequence[dict[str, JsonValue]]]
    app_state: AppState


def prepared(
    outcome: Response | NoResponse, worker_id: int, worker_state: str, app_state: AppState, limits: Limits
) -> Prepared | Unanswered:
    """What the outcome of a worker's call asks for; never raises, whatever the app answered."""
    meaning = classify(outcome, limits)
    if isinstance(meaning, Unanswered):
        return meaning
    try:
        return _accepted(meaning.answer, worker_id, worker_state, app_state, limits)
    except (StateRefused, JsonError) as error:
        return refusal(str(error))


def _accepted(answer: Answer, worker_id: int, worker_state: str, app_state: AppState, limits: Limits) -> Prepared:
    states = new_states(answer, worker_id, worker_state, limits)
    changed = mutated(app_state, answer.app_state_mutations)
    if answer.app_state_mutations:
        encoded(changed, limits.app_state_bytes, "the app state")
    return Prepared(answer, states.own, states.spawned, batches(answer.items_to_import), changed)
