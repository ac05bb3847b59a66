"""Every claim is of a worker that may be called, for its time alone, and ends for a reason."""

from collections import Counter
from typing import Any

from orchestrator.domain.worker import AHEAD
from tests.simulation.books import Books, Claim, Commit, Lane, require
from tests.simulation.manifests import MAX_CALLS, RATE_CALLS, RATE_SECS
from tests.simulation.profile import LEASE_SECS, NODE_NAME, NODE_TIMEOUT_SECS
from tests.simulation.store import Change, Row

BACK_PRESSURE = 4
_ACTIVE = ("ready", "calling", "awaiting")


class ClaimsCheck:
    """Looks at the workers' rows before and after. Raises Violation."""

    def __init__(self, books: Books, *, is_embedded: bool) -> None:
        self._books = books
        self._is_embedded = is_embedded
        self._rated: list[int] = []
        self._beats: dict[str, int] = {}

    def check(self, commit: Commit) -> None:
        """Before the commit's rows are taken in."""
        for change in commit.of("workers"):
            old, new = change.old, change.new
            if old is not None and old["status"] == "calling" and not _is_same_claim(old, new):
                self._ended(commit, old, new)
            if new["status"] == "calling" and (old is None or not _is_same_claim(old, new)):
                self._begun(commit, change)

    def after(self, commit: Commit) -> None:
        """When the commit's rows are taken in."""
        for change in commit.of("nodes"):
            self._beats[change.new["id"].partition(":")[2]] = change.new["heartbeat_at"]
        released: dict[int, Lane] = {}
        for change in commit.of("workers"):
            old, new = change.old, change.new
            lane = new["execution_pk"], new["worker_id"]
            if new["status"] == "calling" and (old is None or not _is_same_claim(old, new)):
                self._record(commit, lane, new, _begins(commit, old))
            if old is not None and old["status"] == "waiting" and new["status"] == "ready":
                require(lane[0] not in released, f"workers {lane} and {released.get(lane[0])} were released together")
                released[lane[0]] = lane
                self._released(lane)
        if commit.of("workers"):
            self._check_limits()
            self._count_ends(commit)

    def _ended(self, commit: Commit, old: Row, new: Row) -> None:
        one = old["execution_pk"], old["worker_id"], old["token"]
        outcome = next((change.new["outcome"] for change in commit.of("calls") if _call(change.new) == one), None)
        if outcome in ("applied", "failed"):
            return
        if any(row.new["pk"] == one[0] and row.new["status"] == "aborted" for row in commit.of("executions")):
            self._books.counters["claim ended by abort"] += 1
            return
        claim = self._books.claims[one]
        has_run_out = not self._is_embedded and claim.until < commit.at
        is_own = claim.node == commit.node
        if outcome == "lost":
            is_void = self._is_embedded and commit.label == "void_claims"
            is_silent = commit.label == "lose_silent" and self._is_silent(claim.node, commit.at)
            may_lose = has_run_out or is_void or is_silent or (is_own and commit.label == "lose_claims")
            require(may_lose, f"claim {one} of {claim.node} was taken away before its lease ran out ({commit.label})")
            self._books.counters["lease ran out" if has_run_out else f"lost by {commit.label}"] += 1
            return
        require(is_own, f"claim {one} of {claim.node} was given back by {commit.node}")
        require(one not in self._books.posts, f"claim {one} was given back although its call was made")
        self._books.released.add(one)
        self._books.counters[f"claim given back by {commit.label}"] += 1

    def _is_silent(self, node: str, at: int) -> bool:
        """Whether a node has given no sign of life for so long that others may take its claims."""
        return not self._is_embedded and at - self._beats[node] > NODE_TIMEOUT_SECS * 1e6

    def _begun(self, commit: Commit, change: Change) -> None:
        old, new, books = change.old, change.new, self._books
        lane = new["execution_pk"], new["worker_id"]
        execution, model = books.executions[lane[0]], books.model[lane]
        what = f"worker {lane} was claimed"
        require(old is not None and new["token"] == old["token"] + 1, f"{what}, and its token did not grow by one")
        assert old is not None
        require(new["node"] == f"{NODE_NAME}:{commit.node}", f"{what} by {commit.node} for {new['node']}")
        begins = _begins(commit, old)
        lease_secs = (new["lease_until"] - begins) / 1e6
        require(abs(lease_secs - LEASE_SECS) < 1e-6, f"{what} for {lease_secs} s instead of {LEASE_SECS} s")
        require(execution["status"] == "running", f"{what}, and its execution is {execution['status']}")
        require(not execution["failing"], f"{what}, and its execution is failing")
        require(books.app_status[new["app_pk"]] == "active", f"{what}, and its app is not active")
        require(model.not_before <= begins, f"{what} {(model.not_before - begins) / 1e6} s too early")
        ahead_secs = (begins - commit.at) / 1e6
        may_be_ahead = books.apps[new["app_pk"]] != "app_beta" and ahead_secs <= AHEAD.total_seconds()
        require(not ahead_secs or may_be_ahead, f"{what} {ahead_secs} s before it was due")
        books.counters["claimed ahead"] += ahead_secs > 0
        require(model.rests != "done", f"{what}, and it is done")
        is_renewal = old["status"] == "calling"
        require(is_renewal or old["status"] == "ready", f"{what}, and was {old['status']}")
        require(not (is_renewal and model.rests == "waiting"), f"{what} while it waits for the others")
        books.counters["renewed" if is_renewal else "claimed"] += 1

    def _record(self, commit: Commit, lane: Lane, row: Row, begins: int) -> None:
        books, model = self._books, self._books.model[lane]
        pk, worker_id = lane
        undelivered = books.undelivered(lane)
        require(undelivered <= BACK_PRESSURE, f"worker {lane} was claimed with {undelivered} undelivered batches")
        others = {
            other["worker_id"]: (other["status"], books.model[pk, other["worker_id"]].state)
            for other in (books.workers_of(pk) if model.rests == "waiting" else ())
            if other["worker_id"] != worker_id
        }
        books.claims[pk, worker_id, row["token"]] = Claim(
            node=commit.node,
            attempt=books.executions[pk]["attempt"],
            begins=begins,
            until=row["lease_until"],
            state=model.state,
            retries=model.retries,
            app_state=books.app_states[row["app_pk"]],
            released=model.rests == "waiting",
            others=others,
        )
        if books.apps[row["app_pk"]] == "app_beta":
            self._rated.append(commit.at)

    def _released(self, lane: Lane) -> None:
        for other in self._books.workers_of(lane[0]):
            is_going = other["worker_id"] != lane[1] and other["status"] in _ACTIVE
            require(not is_going, f"worker {lane} need not wait, although worker {other['worker_id']} is going")
        self._books.counters["released from waiting"] += 1

    def _count_ends(self, commit: Commit) -> None:
        done = Counter(row.new["execution_pk"] for row in commit.of("workers") if row.new["status"] == "done")
        for pk, count in done.items():
            is_end = self._books.executions[pk]["open_workers"] == 0
            self._books.counters["last two workers in one commit"] += is_end and count > 1

    def _check_limits(self) -> None:
        calling: dict[int, int] = {}
        for row in self._books.workers.values():
            if row["status"] == "calling":
                calling[row["app_pk"]] = calling.get(row["app_pk"], 0) + 1
        for app, count in calling.items():
            most = MAX_CALLS[self._books.apps[app]]
            require(count <= most, f"{count} calls of app {app} at once; its limit is {most}")
        if len(self._rated) > RATE_CALLS:
            window_secs = (self._rated[-1] - self._rated[-1 - RATE_CALLS]) / 1e6
            require(window_secs >= RATE_SECS, f"{RATE_CALLS + 1} calls of app_beta in {window_secs} s")


def _is_same_claim(old: Row, new: Row) -> bool:
    names = ("status", "token", "node", "lease_until")
    return all(old[name] == new[name] for name in names)


def _begins(commit: Commit, old: Row | None) -> int:
    """From when the worker may be called: one that is claimed a little ahead, from when it is due."""
    due_at = old["due_at"] if old is not None and old["status"] == "ready" else None
    return max(commit.at, due_at or 0)


def _call(row: Row) -> tuple[Any, Any, Any]:
    return row["execution_pk"], row["worker_id"], row["token"]
