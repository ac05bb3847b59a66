"""Good histories, told step by step: a small ideal orchestrator that keeps every promise, and the witnesses' logs.

Everything that it holds is mutable, so that a test can break one promise at a time.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.history.checker import check
from tests.history.dump import ENDED_WORKER, App, Batch, CallRow, Dump, Execution, Seed, Worker
from tests.history.effects import Effects
from tests.history.findings import Finding
from tests.history.history import History, Logs, read_history
from tests.history.json_lines import DIGEST_BYTES, Json, digest, digests
from tests.history.signed_lines import COLLECTOR_SECRET, SECRET, delivery_headers, signed

HOST = "127.0.0.1:4242"
APP, APP_PK, TASK_PK = "app_till", 1, 1
ITEMS_PER_BATCH = 2


@dataclass(slots=True)
class Asked:
    """A call on its way: the request's number, and the claim that it belongs to."""

    id: int
    execution: str
    worker: int
    step: int
    token: int
    attempt: int


class Story:
    """A run with one app. `app`, `deliveries`, `clients` and `faults` are the lines of the logs."""

    def __init__(self) -> None:
        self.app: list[Json] = [{"event": "started", "at": 0.0, "host": HOST}]
        self.deliveries: list[Json] = []
        self.is_built_in = False
        self.is_at_rest = False
        # Without them, one failure would be too great a part of so short a run.
        self.clients: list[Json] = [
            {"event": "call", "op": "health", "begin": -2.0, "end": -1.0, "outcome": "ok"} for _ in range(40)
        ]
        self.faults: list[Json] = []
        self.calls: list[CallRow] = []
        self.dump = Dump(apps={APP_PK: App(APP_PK, "default", APP, {}, 0)}, tasks={TASK_PK: "app_till_print"})
        self.states: dict[tuple[str, int], Json] = {}
        self.outbox: dict[str, list[Any]] = {}
        self.now = 0.0
        self._asked = 0

    def execution(self, id_: str) -> Execution:
        return next(one for one in self.dump.executions.values() if one.id == id_)

    def worker(self, id_: str, worker_id: int) -> Worker:
        return self.dump.workers[self.execution(id_).pk, worker_id]

    def launch(self, id_: str, input_: Json | None = None, *, outcome: str = "ok", key: str | None = None) -> None:
        """A client launches; with an unknown outcome it has happened all the same."""
        state = input_ or {}
        self.create(id_, state)
        self.client("launch", {"id": id_, "task_id": "app_till_print", "state": state}, outcome, {"id": id_}, key)

    def create(self, id_: str, state: Json, *, is_scheduled: bool = False) -> None:
        pk = len(self.dump.executions) + 1
        self.dump.executions[pk] = Execution(
            pk,
            "default",
            id_,
            APP_PK,
            TASK_PK,
            "running",
            open_workers=1,
            is_scheduled=is_scheduled,
            input=digest(state),
            seeds={0: Seed(digest(state))},
        )
        self.dump.workers[pk, 0] = Worker(pk, 0, "ready", 0, 0, state=digest(state))
        self.states[id_, 0] = state

    def client(
        self, op: str, asked: Json, outcome: str = "ok", answered: Json | None = None, key: str | None = None
    ) -> Json:
        """A line of the client's log."""
        begin = self._tick()
        line = {
            "event": "call",
            "op": op,
            "begin": begin,
            "end": self._tick(),
            "key": key,
            "asked": asked,
            "outcome": outcome,
            "answered": answered if outcome == "ok" else {},
        }
        self.clients.append(line)
        return line

    def ask(self, id_: str, worker_id: int, *, retry_count: int = 0, **more: Any) -> Asked:
        """The worker is claimed, and its call reaches the app. `more` goes into the payload."""
        execution, worker = self.execution(id_), self.worker(id_, worker_id)
        worker.token += 1
        worker.status = "calling"
        asked = self.request(id_, worker_id, worker.step, retry_count=retry_count, **more)
        asked.token, asked.attempt = worker.token, execution.attempt
        return asked

    def request(self, id_: str, worker_id: int, step: int, *, retry_count: int = 0, **more: Any) -> Asked:
        """A request reaches the app; nothing else happens."""
        self._asked += 1
        turn = {
            "task_exec_id": id_,
            "worker_id": worker_id,
            "worker_state": self.states[id_, worker_id],
            "retry_count": retry_count,
            "step": step,
            **more,
        }
        body = json.dumps({"workspace_id": "default", "kind": "task_exec_worker", "task_exec_worker": turn})
        key = f"msg_{id_}_{worker_id}_{step}"
        line = {"event": "request", "id": self._asked, "at": self._tick(), "host": HOST, "path": "/webhooks"}
        self.app.append({**line, "headers": signed(body, key), "body": body})
        return Asked(self._asked, id_, worker_id, step, 0, 1)

    def answer(self, asked: Asked, document: Json, status: int = 200) -> Json:
        """The app answers; returns what it said, with its mark."""
        said = {**document, "witness": asked.id}
        at = self._tick()
        self.app.append({"event": "answer", "id": asked.id, "at": at, "status": status, "body": json.dumps(said)})
        return said

    def record(self, asked: Asked, outcome: str, said: Json | None = None, spawned: Mapping[int, int] = {}) -> CallRow:
        """The record of the call."""
        items = len((said or {}).get("items_to_import", ()))
        kept = None if said is None else {key: value for key, value in said.items() if key != "items_to_import"}
        pk = self.execution(asked.execution).pk
        row = CallRow(pk, asked.worker, asked.token, asked.step, asked.attempt, outcome, kept, items, dict(spawned))
        self.calls.append(row)
        if outcome in ("lost", "failed"):
            self.worker(asked.execution, asked.worker).status = "ready"
        return row

    def step(self, id_: str, worker_id: int, *, retry_count: int = 0, **document: Any) -> Asked:
        """A call that is answered and applied."""
        asked = self.ask(id_, worker_id, retry_count=retry_count)
        self.apply(asked, self.answer(asked, document))
        return asked

    def apply(self, asked: Asked, said: Json) -> None:
        """What the app said is applied, whole."""
        execution, worker = self.execution(asked.execution), self.worker(asked.execution, asked.worker)
        spawned = {}
        for new in said.get("new_workers", ()):
            spawned[new["worker_id"]] = self._spawn(execution, new["worker_id"], new["initial_state"])
        self.record(asked, "applied", said, spawned)
        self._mutate(said.get("app_state_mutations", []))
        worker.step += 1
        if "updated_worker_state" in said:
            self.states[asked.execution, asked.worker] = said["updated_worker_state"]
            worker.state = digest(said["updated_worker_state"])
        self._put_batches(asked, worker, said.get("items_to_import", []))
        is_done, is_error = bool(said.get("is_done")), bool(said.get("is_error"))
        worker.status = ("failed" if is_error else "done") if is_done else "ready"
        self.settle(execution)

    def deliver(self) -> None:
        """Everything in the outbox reaches the collector."""
        for batch in self.dump.batches:
            if batch.status == "pending":
                self.delivery(batch.key, self.outbox[batch.key])
                batch.status, batch.items = "delivered", None
                self.dump.workers[batch.execution_pk, batch.worker_id].undelivered -= 1
                self.settle(self.dump.executions[batch.execution_pk])

    def delivery(self, key: str, items: list[Any], *, taken: bool = True) -> Json:
        """A line of the collector's log."""
        body = json.dumps({"workspace_id": "default", "items": items})
        line = {"event": "delivery", "at": self._tick(), "host": "c", "headers": delivery_headers(body, key)}
        line |= {"body": body, "taken": taken, "status": 200 if taken else 503}
        self.deliveries.append(line)
        return line

    def mutate(self, mutations: list[Json], outcome: str = "ok", *, is_done: bool = True) -> None:
        """A client changes the app's state; with an unknown outcome it may not have happened."""
        if is_done:
            self._mutate(mutations)
        self.client("mutate", {"app_id": APP, "mutations": mutations}, outcome)

    def abort(self, id_: str, key: str | None = None) -> None:
        """A client aborts the execution."""
        execution = self.execution(id_)
        execution.status = "aborted"
        for worker in self.workers_of(execution):
            if worker.status not in ENDED_WORKER:
                worker.status = "aborted"
        self.settle(execution)
        self.client("abort", {"execution_id": id_}, key=key)

    def retry(self, id_: str, outcome: str = "ok") -> None:
        """A client retries it, in the next attempt."""
        execution = self.execution(id_)
        execution.status, execution.ended_at = "running", None
        execution.attempt += 1
        for worker in self.workers_of(execution):
            if worker.status in ("failed", "aborted"):
                worker.status = "ready"
        self.settle(execution)
        self.client("retry", {"execution_id": id_}, outcome)

    def read(self, id_: str) -> Json:
        """A client reads the execution as it is now."""
        execution = self.execution(id_)
        workers = [{"worker_id": one.id, "step": one.step, "status": one.status} for one in self.workers_of(execution)]
        shown = {"id": id_, "status": execution.status, "attempt": execution.attempt, "workers": workers}
        return self.client("read", {"execution_id": id_}, "ok", shown)

    def workers_of(self, execution: Execution) -> list[Worker]:
        return [one for one in self.dump.workers.values() if one.execution_pk == execution.pk]

    def settle(self, execution: Execution) -> None:
        """Count the open workers; end the execution if it is over."""
        workers = self.workers_of(execution)
        execution.open_workers = sum(one.status not in ENDED_WORKER for one in workers)
        has_failed = any(one.status == "failed" for one in workers)
        if execution.status == "running" and not execution.open_workers:
            if has_failed:
                execution.status = "failed"
            elif not any(one.undelivered for one in workers):
                execution.status = "succeeded"
        if execution.status != "running":
            execution.ended_at = execution.ended_at or round(self.now)

    def history(self) -> History:
        """The story as the checker reads it."""
        self.calls.sort(key=lambda call: (call.execution_pk, call.worker_id, call.token))
        self.dump.calls = self.calls
        logs = Logs(
            app=[self.app],
            collector=None if self.is_built_in else self.deliveries,
            clients=[self.clients],
            faults=self.faults,
            secrets=[SECRET],
            collector_secrets=[COLLECTOR_SECRET],
        )
        return read_history(self.dump, logs)

    def collect_built_in(self) -> None:
        """The deliveries went to the built-in collector, and there is no log of them."""
        self.is_built_in = True
        for line in self.deliveries:
            if line["taken"]:
                key = line["headers"]["idempotency-key"]
                self.dump.collected[key] = digests(json.loads(line["body"])["items"])

    def findings(self) -> list[Finding]:
        return check(self.history(), is_at_rest=self.is_at_rest)

    def _spawn(self, execution: Execution, worker_id: int, state: Json) -> int:
        lane = (execution.pk, worker_id)
        worker = self.dump.workers.setdefault(lane, Worker(*lane, "ready", 0, 0))
        worker.status, worker.state = "ready", digest(state)
        self.states[execution.id, worker_id] = state
        return worker.token

    def _mutate(self, mutations: list[Json]) -> None:
        app = self.dump.apps[APP_PK]
        assert app.state is not None
        app.version += bool(mutations)
        for one in mutations:
            match one["operation"]:
                case "set":
                    app.state[one["key"]] = one["value"]
                case "delete":
                    app.state.pop(one["key"], None)
                case _:
                    app.state[one["key"]] = app.state.get(one["key"], 0) + one["value"]

    def _put_batches(self, asked: Asked, worker: Worker, items: list[Any]) -> None:
        effects = Effects.of({"items_to_import": items})
        assert effects is not None
        for part, start in enumerate(range(0, len(items), ITEMS_PER_BATCH)):
            some = items[start : start + ITEMS_PER_BATCH]
            key = f"imp_{asked.execution}_{asked.worker}_{asked.step}_{part}"
            kept = effects.items[start * DIGEST_BYTES : (start + len(some)) * DIGEST_BYTES]
            lane = (worker.execution_pk, worker.id)
            self.dump.batches.append(Batch(*lane, asked.step, part, key, len(some), "pending", kept))
            self.outbox[key] = some
            worker.undelivered += 1

    def _tick(self) -> float:
        self.now += 1.0
        return self.now
