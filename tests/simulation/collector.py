"""The simulated collector: takes batches in by key, or does not. What it has taken in is compared in the end."""

import random

import orjson

from orchestrator.domain.outcome import FailureKind
from orchestrator.engine.caller import Request
from tests.simulation.books import Books, require
from tests.simulation.network import Exchange, Outcome, answered, unanswered
from tests.simulation.profile import TIMEOUT_SECS, Profile


class SimulatedCollector:
    """While `is_kind` it takes everything in."""

    def __init__(self, profile: Profile, books: Books) -> None:
        self.is_kind = False
        self.is_down = False
        self._profile = profile
        self._books = books
        self._tries: dict[str, int] = {}

    def receive(self, _node: str, request: Request) -> Exchange:
        """Judge a delivery and answer it."""
        key = request.headers["Idempotency-Key"]
        self._judge(key, request.body)
        nth = self._tries[key] = self._tries.get(key, 0) + 1
        dice = random.Random(f"{self._profile.seed} {key} {nth}")
        kind = self._kind(dice)
        self._books.counters[f"collector {kind}"] += 1
        if nth > 1:
            self._books.counters["batch delivered again"] += 1
        if kind == "taken in" or (kind == "collector_lost" and dice.random() < 0.5):
            self._books.accepted.setdefault(key, orjson.loads(request.body)["items"])
        if kind == "collector_422":
            self._books.turned_down.add(key)
        return Exchange(self._outcome(kind, dice), self._secs(kind, dice), lambda how: None)

    def _judge(self, key: str, body: bytes) -> None:
        books = self._books
        first = books.bodies.setdefault(key, body)
        require(first == body, f"batch {key} is delivered again with another body")
        batch = next((row for row in books.batches.values() if row["key"] == key), None)
        require(batch is not None, f"batch {key} is delivered, and was never committed")
        assert batch is not None
        for other in books.batches.values():
            is_before = other["pk"] < batch["pk"] and other["execution_pk"] == batch["execution_pk"]
            if is_before and other["worker_id"] == batch["worker_id"]:
                is_out_of_the_way = other["status"] in ("delivered", "discarded")
                require(is_out_of_the_way, f"batch {key} is delivered before {other['key']} of the same worker")

    def _kind(self, dice: random.Random) -> str:
        if self.is_down:
            return "collector_500"
        if not self.is_kind:
            for kind in ("collector_500", "collector_lost", "collector_422"):
                if dice.random() < self._profile.rate(kind):
                    return kind
        return "taken in"

    def _outcome(self, kind: str, dice: random.Random) -> Outcome:
        match kind:
            case "collector_500":
                return answered(dice.choice((500, 503, 429)), b"later", dice.choice((None, 1.0)))
            case "collector_lost":
                return unanswered(FailureKind.CONNECTION_RESET)
            case "collector_422":
                return answered(422, b"not like this")
            case _:
                return answered(200, b"{}")

    def _secs(self, kind: str, dice: random.Random) -> float:
        if not self.is_kind and dice.random() < self._profile.rate("collector_slow"):
            return dice.uniform(0.5, TIMEOUT_SECS * 1.2)
        return dice.expovariate(1 / 0.2)
