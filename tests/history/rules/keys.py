"""I4: the keys that calls carry."""

from collections.abc import Iterator

from tests.history.app_log import StepId
from tests.history.findings import Finding
from tests.history.history import History


def one_for_a_step(history: History) -> Iterator[Finding]:
    """I4: `webhook-id` and `Idempotency-Key` are equal, the same for all calls of a step, and of no other step."""
    owners: dict[str, StepId] = {}
    for step, talk in history.app.talks.items():
        key = talk.attempts[0].key
        others = sorted({attempt.key for attempt in talk.attempts} - {key})
        if others:
            yield Finding("I4", f"{step} was called with several keys: {key}, {', '.join(others)}")
        unequal = next((one for one in talk.attempts if one.idempotency_key != one.key), None)
        if unequal is not None:
            text = f"webhook-id {unequal.key!r} with Idempotency-Key {unequal.idempotency_key!r}"
            yield Finding("I4", f"{step} was called with {text}")
        owner = owners.setdefault(key, step)
        if owner != step:
            yield Finding("I4", f"{step} was called with the key of {owner}: {key}")
