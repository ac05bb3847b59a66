"""What must hold of every call at the moment at which it is made."""

from collections.abc import Callable
from typing import Any

from tests.simulation.books import Books, Claim, Post, require
from tests.simulation.manifests import AT_MOST_ONCE
from tests.simulation.profile import TIMEOUT_SECS

# The node reads its own clock just before the claim is committed, and sends just after.
SLACK_MICROS = 1


class CallsCheck:
    """Judges calls by the claims that were committed and the answers that were applied. Raises Violation."""

    def __init__(self, books: Books, now: Callable[[], int]) -> None:
        self._books = books
        self.now = now

    def sent(self, post: Post, document: dict[str, Any]) -> None:
        """A node calls the app."""
        books = self._books
        one = (*post.lane, post.token)
        claim = books.claims.get(one)
        require(claim is not None, f"{post.key}: called with token {post.token}, which was never claimed")
        assert claim is not None
        require(claim.node == post.node, f"{post.key}: {post.node} calls with the claim of {claim.node}")
        require(one not in books.posts, f"{post.key}: called twice on one claim")
        require(one not in books.released, f"{post.key}: called although its claim was given back")
        self._in_time(post, claim)
        self._one_key(post)
        self._told(post, claim, document)
        self._at_most_once(post, claim)
        books.posts[one] = post
        books.posts_of_key.setdefault(post.key, []).append(post)

    def _in_time(self, post: Post, claim: Claim) -> None:
        require(
            post.at >= claim.begins - SLACK_MICROS, f"{post.key}: called {(claim.begins - post.at) / 1e6} s too early"
        )
        ends = post.at + int(TIMEOUT_SECS * 1e6)
        require(ends <= claim.until + SLACK_MICROS, f"{post.key}: the call may outlast its lease")
        for other in self._books.posts_of_key.get(post.key, ()):
            # A node that stood still may call with a claim that an abort has ended and a retry has left behind.
            is_same_attempt = self._claim_of(other).attempt == claim.attempt
            is_in_flight = other.seen is None and other.at + int(TIMEOUT_SECS * 1e6) > post.at
            if is_same_attempt and is_in_flight:
                self._overlaps(other, claim)

    def _claim_of(self, post: Post) -> Claim:
        return self._books.claims[*post.lane, post.token]

    def _overlaps(self, other: Post, claim: Claim) -> None:
        """Only the death of its node ends a call that the app still works on; then the lease must have run out."""
        previous = self._claim_of(other)
        is_over = previous.until < claim.begins or self._books.outcomes.get((*other.lane, other.token)) == "lost"
        require(is_over, f"{other.key}: called while an earlier call of the step is in flight")

    def _one_key(self, post: Post) -> None:
        step = (*post.lane, post.step)
        key = self._books.key_of_step.setdefault(step, post.key)
        require(key == post.key, f"step {step} was called with the keys {key} and {post.key}")
        for other in self._books.posts_of_key.get(post.key, ()):
            require((*other.lane, other.step) == step, f"the key {post.key} belongs to two steps")

    def _told(self, post: Post, claim: Claim, document: dict[str, Any]) -> None:
        worker = document["task_exec_worker"]
        model = self._books.model[post.lane]
        require(worker["worker_state"] == claim.state, f"{post.key}: called with a state that no answer left: {worker}")
        _, worker_id = post.lane
        is_current = self._books.workers[post.lane]["token"] == post.token
        require(not is_current or post.step == model.step, f"{post.key}: step {model.step} is next, not {post.step}")
        require(
            worker["retry_count"] == claim.retries,
            f"{post.key}: retry_count is {worker['retry_count']}, and {claim.retries} calls in a row have failed",
        )
        require(document["app_state"] == claim.app_state, f"{post.key}: the app state is not that of the claim")
        results = worker.get("worker_results")
        require(
            (results is not None) == claim.released, f"{post.key}: worker_results are there, or missing, without reason"
        )
        if results is not None:
            given = {int(id_): (one["status"], one["state"]) for id_, one in results.items()}
            require(given == claim.others, f"{post.key}: worker_results are {given}, and should be {claim.others}")
        require(
            worker["workers"].get(str(worker_id)) == "calling", f"{post.key}: `workers` does not say that it is called"
        )

    def _at_most_once(self, post: Post, claim: Claim) -> None:
        pk, _ = post.lane
        if self._books.task_of(pk) != AT_MOST_ONCE:
            return
        for other in self._books.posts_of_key.get(post.key, ()):
            if self._claim_of(other).attempt != claim.attempt:
                continue
            may_repeat = other.kind == "unsent" or (
                other.seen == "ended" and other.answer is None and other.kind not in ("reset", "timeout")
            )
            require(may_repeat, f"{post.key}: called again, although at_most_once and an earlier call was {other.kind}")
