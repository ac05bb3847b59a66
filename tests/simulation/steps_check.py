"""Every change that a commit makes to states, steps, counters, app state and outbox is explained by applied answers.

Each answer is applied as a whole, once, for the claim that it answers, and by nobody else.
"""

from typing import Any

import orjson

from tests.simulation.books import Books, Commit, Lane, Model, Post, require
from tests.simulation.store import Change, Row

MOST_ITEMS = 250
_FIRST_BACKOFF, _LONGEST_BACKOFF, _LEAST_JITTER = 1.0, 4.0, 0.9
_UNFINISHED = ("failed", "aborted")


class StepsCheck:
    """Keeps the model of every worker and app, and compares each commit with it. Raises Violation."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._states: dict[Lane, Any] = {}

    def check(self, commit: Commit) -> None:
        """Take the commit's records as its reasons, and see whether its effects are theirs."""
        self._take_states(commit)
        applied: dict[Lane, Post] = {}
        mutated: set[int] = set()
        for change in commit.of("calls"):
            match change.new["outcome"]:
                case "applied":
                    post = self._applied(commit, change, mutated)
                    applied[post.lane] = post
                case "failed":
                    self._failed(commit, change.new)
                case "lost":
                    self._lost(commit, change.new)
                case _:
                    self._books.counters["fenced answer"] += 1
        self._check_workers(commit, applied)
        self._check_states(commit, applied)
        self._check_app_states(commit, mutated)
        self._check_batches(commit, applied)

    def _take_states(self, commit: Commit) -> None:
        for change in commit.of("worker_states"):
            lane = change.new["execution_pk"], change.new["worker_id"]
            self._states[lane] = orjson.loads(change.new["state"])
            if lane[0] not in self._books.executions:
                self._books.model[lane] = Model(self._states[lane])

    def _applied(self, commit: Commit, change: Change, mutated: set[int]) -> Post:
        row, books = change.new, self._books
        post = self._call_that_ends(commit, row)
        require(change.old is None, f"{post.key}: an answer is applied whose call was {change.old}")
        require(post.answer is not None and post.seen == "ended", f"{post.key}: applied, but {post.kind}, {post.seen}")
        assert post.answer is not None
        model, answer = books.model[post.lane], post.answer
        require(
            row["step"] == post.step == model.step, f"{post.key}: step {row['step']} applied, {model.step} was next"
        )
        books.applied.append(post)
        books.counters["applied"] += 1
        model.step += 1
        model.state = answer.get("updated_worker_state", model.state)
        self._follow(model, answer, post.seen_at)
        self._mutate(post, answer, mutated)
        self._spawn(commit, post, orjson.loads(row["spawned"] or "{}"))
        return post

    def _call_that_ends(self, commit: Commit, row: Row) -> Post:
        """The call that this record is about; its claim is the worker's present one, of a running execution."""
        one = row["execution_pk"], row["worker_id"], row["token"]
        post = self._books.posts.get(one)
        require(post is not None, f"a call is recorded as {row['outcome']} that was never made: {one}")
        assert post is not None
        self._is_current(row)
        require(commit.node == post.node, f"{post.key}: {commit.node} records the call of {post.node}")
        return post

    def _is_current(self, row: Row) -> None:
        worker = self._books.workers[row["execution_pk"], row["worker_id"]]
        execution = self._books.executions[row["execution_pk"]]
        what = f"call {row['execution_pk']}/{row['worker_id']}.{row['token']} is {row['outcome']}"
        is_held = worker["status"] == "calling" and worker["token"] == row["token"]
        require(is_held, f"{what}, but the worker is {worker['status']} with token {worker['token']}")
        require(execution["status"] == "running", f"{what}, but the execution is {execution['status']}")

    def _follow(self, model: Model, answer: dict[str, Any], at: int) -> None:
        delay_secs = answer.get("delay_next_request_in_secs")
        if answer.get("is_error"):
            model.retries += 1
            wait_secs = _backoff_secs(model.retries) if delay_secs is None else delay_secs
        else:
            model.retries = 0
            wait_secs = delay_secs or 0
            is_done, waits = answer.get("is_done"), answer.get("wait_for_workers")
            model.rests = "done" if is_done else "waiting" if waits else "ready"
        model.not_before = at + int(wait_secs * 1e6)

    def _mutate(self, post: Post, answer: dict[str, Any], mutated: set[int]) -> None:
        app = self._books.executions[post.lane[0]]["app_pk"]
        for mutation in answer.get("app_state_mutations", ()):
            state, key, value = self._books.app_states[app], mutation["key"], mutation["value"]
            is_increment = mutation["operation"] == "increment"
            self._books.app_states[app] = {**state, key: state.get(key, 0) + value if is_increment else value}
            mutated.add(app)

    def _spawn(self, commit: Commit, post: Post, spawned: dict[str, int]) -> None:
        asked = (
            {new["worker_id"]: new["initial_state"] for new in post.answer["new_workers"]}
            if (post.answer is not None and "new_workers" in post.answer)
            else {}
        )
        pk = post.lane[0]
        after = [change.new for change in commit.of("executions") if change.new["pk"] == pk]
        may_fail = any(row["failing"] or row["status"] != "running" for row in (self._books.executions[pk], *after))
        require(set(map(int, spawned)) <= asked.keys(), f"{post.key}: workers were spawned that nobody has asked for")
        for worker_id, state in asked.items():
            lane = pk, worker_id
            known = self._books.workers.get(lane)
            if str(worker_id) in spawned:
                is_free = known is None or self._books.model[lane].rests == "done"
                require(is_free, f"{post.key}: worker {worker_id} was spawned although it is going")
                step = self._books.model[lane].step if known else 0
                self._books.model[lane] = Model(state, step, not_before=commit.at)
                self._books.counters["spawned anew" if known else "spawned"] += 1
            else:
                is_going = known is not None and known["status"] != "done"
                require(is_going or may_fail, f"{post.key}: worker {worker_id} was not spawned")

    def _failed(self, commit: Commit, row: Row) -> None:
        post = self._call_that_ends(commit, row)
        is_valid = post.answer is not None and post.seen == "ended"
        require(post.seen is not None and not is_valid, f"{post.key}: a valid answer is recorded as failed")
        model = self._books.model[post.lane]
        model.retries += 1
        wait_secs = _backoff_secs(model.retries)
        if post.seen == "lost":
            wait_secs = 0
        elif post.seen == "ended" and post.retry_after_secs is not None:
            wait_secs = post.retry_after_secs
        model.not_before = post.seen_at + int(wait_secs * 1e6)

    def _lost(self, commit: Commit, row: Row) -> None:
        self._is_current(row)
        model = self._books.model[row["execution_pk"], row["worker_id"]]
        model.retries += 1
        model.not_before = commit.at
        self._books.counters["lost call"] += 1

    def _check_workers(self, commit: Commit, applied: dict[Lane, Post]) -> None:
        moved = set()
        for change in commit.of("workers"):
            old, new = change.old, change.new
            lane = new["execution_pk"], new["worker_id"]
            model = self._books.model.get(lane)
            require(model is not None, f"worker {lane} began without a state")
            assert model is not None
            if old is not None and old["status"] in _UNFINISHED and new["status"] not in _UNFINISHED:
                model.retries, model.not_before = 0, commit.at
                self._books.counters[f"retried as {new['status']}"] += 1
            if old is not None and old["step"] != new["step"]:
                moved.add(lane)
                require(lane in applied, f"worker {lane} moved on to step {new['step']}, and no answer was applied")
            if old is None and lane[0] not in self._books.executions:
                # One that goes on from another execution may begin as done, or waiting for the others.
                model.rests = "done" if new["status"] == "done" else "waiting" if new["waits"] else "ready"
            require(new["step"] == model.step, f"worker {lane} is at step {new['step']}, and not at {model.step}")
            told = f"worker {lane} counts {new['retry_count']} retries, and not {model.retries}"
            require(new["retry_count"] == model.retries, told)
        require(moved == applied.keys(), f"answers of {applied.keys() - moved} were applied without closing a step")

    def _check_states(self, commit: Commit, applied: dict[Lane, Post]) -> None:
        touched = {(change.new["execution_pk"], change.new["worker_id"]) for change in commit.of("worker_states")}
        for lane in sorted(touched | applied.keys()):
            state, model = self._states.get(lane), self._books.model[lane]
            require(state == model.state, f"the state of worker {lane} is {state}, and answers have left {model.state}")

    def _check_app_states(self, commit: Commit, mutated: set[int]) -> None:
        changed = {change.new["app_pk"]: orjson.loads(change.new["state"]) for change in commit.of("app_states")}
        require(changed.keys() == mutated, f"app states changed: {changed.keys()}, mutated by answers: {mutated}")
        for app, state in changed.items():
            expected = self._books.app_states[app]
            require(state == expected, f"the state of app {app} is {state}, and answers make it {expected}")

    def _check_batches(self, commit: Commit, applied: dict[Lane, Post]) -> None:
        put: dict[Lane, list[Any]] = {}
        for change in commit.of("import_batches"):
            if change.old is None:
                items = orjson.loads(change.new["items"])
                require(len(items) <= MOST_ITEMS, f"a batch of {len(items)} items")
                put.setdefault((change.new["execution_pk"], change.new["worker_id"]), []).extend(items)
        for lane in put.keys() | applied.keys():
            answer = applied[lane].answer if lane in applied else None
            items = (answer or {}).get("items_to_import", [])
            require(put.get(lane, []) == items, f"worker {lane} imports {put.get(lane)}, and answered {items}")


def _backoff_secs(retries: int) -> float:
    return min(_FIRST_BACKOFF * 2.0 ** (retries - 1), _LONGEST_BACKOFF) * _LEAST_JITTER
