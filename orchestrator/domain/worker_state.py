"""The workers' JSON states that an answer asks for, held to their limit."""

from app_sdk.protocol import strict_json
from app_sdk.protocol.answer import Answer
from app_sdk.protocol.frozen import frozen
from app_sdk.protocol.limits import Limits
from app_sdk.protocol.strict_json import JsonValue
from orchestrator.domain.app_state import within


@frozen
class NewStates:
    """JSON texts. `own` is None where the worker's state stays as it is; `spawned` are those of workers to start."""

    own: str | None
    spawned: dict[int, str]


def new_states(answer: Answer, worker_id: int, current: str, limits: Limits) -> NewStates:
    """What `answer` makes of the states; raises StateRefused, naming the worker whose state is over its limit."""
    own = None
    if answer.updated_worker_state is not None:
        text = _encoded(answer.updated_worker_state, limits, f"the state of worker {worker_id}")
        own = None if text == current else text
    spawned = {
        new.worker_id: _encoded(new.initial_state, limits, f"the initial state of worker {new.worker_id}")
        # Of a worker that is named twice, the first counts; the second finds it going already.
        for new in reversed(answer.new_workers)
    }
    return NewStates(own, spawned)


def _encoded(state: dict[str, JsonValue], limits: Limits, name: str) -> str:
    # An answer has been read strictly.
    return within(limits.worker_state_bytes, strict_json.rewrite(state), state, name)
