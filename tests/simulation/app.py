"""The simulated app: what it answers is a pure function of the seed, the step's key and how often it was called.

Each answer has a number, which travels in the worker's state, in its items and in the app's state, so that whatever
of it is applied can be told from every other answer.
"""

import random
from dataclasses import dataclass
from typing import Any

import orjson

from orchestrator.domain.outcome import FailureKind
from orchestrator.engine.caller import Request
from tests.simulation.books import Books, Post
from tests.simulation.calls_check import CallsCheck
from tests.simulation.network import Exchange, Outcome, answered, unanswered
from tests.simulation.profile import TIMEOUT_SECS, Profile

COUNTERS = ("north", "south")
MANY_ITEMS = (251, 251, 751)


@dataclass(slots=True)
class Heard:
    """A call as the app reads it."""

    key: str
    worker: dict[str, Any]
    app_id: str
    dice: random.Random

    @property
    def state(self) -> dict[str, Any]:
        return dict(self.worker["worker_state"])


class SimulatedApp:
    """Both apps of the world. While `is_kind` they make no trouble."""

    def __init__(self, profile: Profile, books: Books, check: CallsCheck) -> None:
        self.is_kind = False
        self._profile = profile
        self._books = books
        self._check = check
        self._posts = 0

    def receive(self, node: str, request: Request) -> Exchange:
        """Take in a call, judge it, and answer."""
        document = orjson.loads(request.body)
        worker = document["task_exec_worker"]
        key = request.headers["Idempotency-Key"]
        token = int(request.headers["simulation-token"])
        pk = self._books.pk_of_uid[key.split("_")[1]]
        nth = len(self._books.posts_of_key.get(key, ()))
        dice = random.Random(f"{self._profile.seed} {key} {nth}")
        self._posts += 1
        kind = self._kind(dice, worker)
        if kind == "answer" and not self.is_kind and dice.random() < self._profile.rate("refused"):
            # Once there is a name in the app's state, to count it up is refused.
            kind = "refused" if "name" in document["app_state"] else "names"
        heard = Heard(key, worker, document["app_id"], dice)
        post = Post(
            number=self._posts,
            at=self._check.now(),
            node=node,
            key=key,
            lane=(pk, worker["worker_id"]),
            token=token,
            step=worker["step"],
            kind=kind,
        )
        self._check.sent(post, document)
        outcome = self._outcome(post, heard)
        self._books.counters[f"app {kind}"] += 1
        secs = self._secs(kind, dice)

        def seen(how: str) -> None:
            post.seen, post.seen_at = how, self._check.now()

        return Exchange(outcome, secs, seen)

    def _kind(self, dice: random.Random, worker: dict[str, Any]) -> str:
        if self.is_kind:
            return "answer"
        for kind in ("unsent", "reset", "timeout", "status_500", "status_429", "status_404", "invalid"):
            if dice.random() < self._profile.rate(kind):
                return kind
        # What ends an execution comes late in it, or nothing else would happen.
        if worker["step"] > 1:
            for kind in ("status_400", "status_410"):
                if dice.random() < self._profile.rate(kind):
                    return kind
        return "answer"

    def _secs(self, kind: str, dice: random.Random) -> float:
        if kind == "unsent":
            return 0.01
        if kind == "timeout":
            return TIMEOUT_SECS + 1
        if not self.is_kind and dice.random() < self._profile.rate("slow") / 3:
            return dice.uniform(0.5, TIMEOUT_SECS * 1.1)
        return min(dice.expovariate(1 / self._profile.call_secs), TIMEOUT_SECS - 0.1)

    def _outcome(self, post: Post, heard: Heard) -> Outcome:
        match post.kind:
            case "unsent":
                return unanswered(FailureKind.CONNECTION_REFUSED, sent=False)
            case "reset":
                return unanswered(FailureKind.CONNECTION_RESET)
            case "timeout":
                return unanswered(FailureKind.TIMEOUT)
            case "invalid":
                return answered(200, b'{"is_done": tru')
            case "status_429":
                post.retry_after_secs = heard.dice.choice((None, 0.5, 3.0))
                return answered(429, b"slowly", post.retry_after_secs)
            case "refused":
                refused = {"operation": "increment", "key": "name", "value": 1}
                answer = self._answer(post, heard)
                mutations = [*answer.get("app_state_mutations", ()), refused]
                return answered(200, orjson.dumps({**answer, "app_state_mutations": mutations}))
            case "names" | "answer":
                post.answer = self._answer(post, heard)
                if post.kind == "names":
                    named = {"operation": "set", "key": "name", "value": "a name"}
                    post.answer["app_state_mutations"] = [*post.answer.get("app_state_mutations", ()), named]
                return answered(200, orjson.dumps(post.answer))
            case status:
                return answered(int(status.removeprefix("status_")), b"no")

    def _answer(self, post: Post, heard: Heard) -> dict[str, Any]:
        dice, state = heard.dice, heard.state
        if not self.is_kind and dice.random() < self._profile.rate("idle"):
            return {}
        left = state.get("left", 0)
        state["answer"] = post.number
        answer: dict[str, Any] = {"updated_worker_state": state}
        self._add_effects(answer, post, heard)
        if not self.is_kind and dice.random() < self._profile.rate("is_error"):
            answer["is_error"] = True
            if dice.random() < 0.3:
                answer["delay_next_request_in_secs"] = round(dice.uniform(0, 3), 3)
            return answer
        if left > 0:
            state["left"] = left - 1
            self._go_on(answer, state, heard)
            return answer
        self._end(answer, state, heard)
        return answer

    def _add_effects(self, answer: dict[str, Any], post: Post, heard: Heard) -> None:
        dice = heard.dice
        if dice.random() < 0.5:
            keys = [dice.choice(COUNTERS) for _ in range(dice.randint(1, 2))]
            answer["app_state_mutations"] = [
                {"operation": "increment", "key": key, "value": dice.randint(1, 9)} for key in keys
            ]
            if dice.random() < 0.3:
                answer["app_state_mutations"].append({"operation": "set", "key": "latest", "value": post.number})
        flood = 0.0 if self.is_kind else self._profile.rate("flood")
        if dice.random() < max(0.35, 2 * flood):
            count = dice.choice(MANY_ITEMS) if dice.random() < max(0.05, flood) else dice.randint(1, 3)
            answer["items_to_import"] = [{"kind": "thing", "answer": post.number, "n": n} for n in range(count)]
        if dice.random() < 0.15:
            answer["output"] = {f"step {post.step}": post.number}
        if dice.random() < 0.1:
            answer["logs"] = ["a line"]

    def _go_on(self, answer: dict[str, Any], state: dict[str, Any], heard: Heard) -> None:
        dice = heard.dice
        if dice.random() < 0.2:
            answer["delay_next_request_in_secs"] = round(dice.uniform(0.2, 5), 3)
        if state.get("spawns", 0) > 0 and dice.random() < 0.5:
            state["spawns"] -= 1
            answer["new_workers"] = self._helpers(heard)
            if dice.random() < 0.4:
                answer.pop("delay_next_request_in_secs", None)
                answer["wait_for_workers"] = True
        elif dice.random() < 0.08:
            answer.pop("delay_next_request_in_secs", None)
            answer["wait_for_workers"] = True

    def _end(self, answer: dict[str, Any], state: dict[str, Any], heard: Heard) -> None:
        dice = heard.dice
        if state.get("rounds", 0) > 0:
            # Once more with the helpers: those that are done begin again.
            state["rounds"] -= 1
            answer["new_workers"] = self._helpers(heard)
            answer["wait_for_workers"] = True
            return
        answer["is_done"] = True
        if not self.is_kind and dice.random() < self._profile.rate("is_error_done"):
            answer["is_error"] = True

    def _helpers(self, heard: Heard) -> list[dict[str, Any]]:
        dice = heard.dice
        ids = dice.sample(range(1, 10), dice.choice((1, 1, 2, 2, 3, 9 if self._profile.longest < 3 else 2)))
        return [
            {"worker_id": worker_id, "initial_state": {"left": dice.randint(0, 2), "began": f"{heard.key} {worker_id}"}}
            for worker_id in ids
        ]
