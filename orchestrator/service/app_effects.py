"""What the answers of one commit do to their apps: mutations of the state, the count of silent calls, a stop.

The state's row is locked before it is read, so that no mutation of another node is lost; everything is decided here
in memory and written once.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from app_sdk.protocol import strict_json
from app_sdk.protocol.answer import Mutation
from app_sdk.protocol.strict_json import JsonValue
from orchestrator.domain.app_state import encoded, mutated
from orchestrator.domain.fairness import UNANSWERED_LIMIT
from orchestrator.store import apps
from orchestrator.store.apps import AppFacts
from orchestrator.store.clock import to_micros
from orchestrator.store.reads import Read
from orchestrator.store.transaction import Transaction


@dataclass(slots=True)
class AppEffects:
    """The apps of one commit, as they were read and as they will be written."""

    facts: dict[int, AppFacts]
    _states: dict[int, dict[str, JsonValue]]
    _texts: dict[int, str] = field(default_factory=dict)
    _unanswered: dict[int, int] = field(default_factory=dict)
    _stopped: dict[int, str] = field(default_factory=dict)

    @staticmethod
    def reads(app_pks: Collection[int], mutating: Collection[int]) -> tuple[Read, ...]:
        """What `of` makes them from: the apps, after a lock of the states of those that are `mutating`."""
        facts = apps.facts(app_pks)
        return (apps.lock_states(mutating), facts) if mutating else (facts,)

    @classmethod
    def of(cls, reads: Sequence[Read], mutating: Collection[int]) -> "AppEffects":
        facts = apps.facts_of(reads[-1])
        return cls(facts, {pk: _object(facts[pk].state) for pk in mutating})

    def mutate(self, app_pk: int, mutations: Iterable[Mutation], limit_bytes: int) -> None:
        """Apply the mutations in order, or none of them: raises StateRefused."""
        changed = mutated(self._states[app_pk], mutations)
        self._texts[app_pk] = encoded(changed, limit_bytes, "the app state")
        self._states[app_pk] = changed

    def hear(self, app_pk: int, *, is_silent: bool) -> None:
        """Count a call without any answer; an answer, whatever it says, begins the count anew."""
        count = self._unanswered.get(app_pk, self.facts[app_pk].unanswered_calls)
        self._unanswered[app_pk] = min(count + 1, UNANSWERED_LIMIT) if is_silent else 0

    def stop(self, app_pk: int, reason: str) -> None:
        self._stopped.setdefault(app_pk, reason)

    def may_go_on(self, app_pk: int) -> bool:
        """False if the app's next calls must go through an ordinary claim."""
        facts = self.facts[app_pk]
        return facts.status == "active" and not facts.is_rate_limited and app_pk not in self._stopped

    def after(self, app_pk: int) -> AppFacts:
        """The app as the commit leaves it."""
        facts, text = self.facts[app_pk], self._texts.get(app_pk)
        return facts if text is None else replace(facts, state=text)

    def write(self, tx: Transaction, now: datetime) -> bool:
        """Write what has changed; True if that is more than the apps' states."""
        for app_pk, text in sorted(self._texts.items()):
            apps.set_state(tx, app_pk, text)
        # In the order of their keys, as every lock: these are the rows that a claim locks.
        changed = {pk for pk, count in self._unanswered.items() if count != self.facts[pk].unanswered_calls}
        for app_pk in sorted(changed | self._stopped.keys()):
            if app_pk in changed:
                apps.set_unanswered(tx, app_pk, self._unanswered[app_pk])
            if app_pk in self._stopped:
                apps.stop(tx, app_pk, self._stopped[app_pk], to_micros(now))
        return bool(changed or self._stopped)


def _object(text: str) -> dict[str, JsonValue]:
    value = strict_json.loads(text.encode())
    assert isinstance(value, dict)
    return value
