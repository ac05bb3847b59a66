"""One execution of a sample, called over HTTP as the orchestrator would, in virtual time."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from app_sdk.protocol.signing import sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MOST_CALLS = 5_000
MOST_RETRIES = 15
BACKOFF_SECS = 5.0
ENDED = ("done", "failed")


class VirtualClock:
    """Stands still, but for those who move it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Lane:
    """A worker: `due` is when it may be called next."""

    worker_id: int
    state: dict[str, Any]
    due: float
    status: str = "ready"
    step: int = 0
    retry_count: int = 0
    released: bool = False
    progress: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class VirtualRun:
    """`loses(call number)` says which answers get lost on their way: their step is called again."""

    client: httpx.AsyncClient
    clock: VirtualClock
    app_id: str
    task_id: str
    loses: Callable[[int], bool] = lambda _: False
    lanes: dict[int, Lane] = field(default_factory=dict)
    app_state: dict[str, Any] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)
    message: str = ""
    output: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[float, int, int]] = field(default_factory=list)
    """When each call was made, to which worker, and the status of its answer."""

    async def run(self, input: dict[str, Any] | None = None) -> None:  # noqa: A002
        """Call until every worker has ended, however it did."""
        self.lanes[0] = Lane(0, dict(input or {}), self.clock.now)
        while any(lane.status not in ENDED for lane in self.lanes.values()):
            await self._call(self._next())
            assert len(self.calls) < MOST_CALLS, "it does not come to an end"

    async def first_answer(self) -> dict[str, Any]:
        """Make the first call only, apply nothing, and look at the answer."""
        response = await self._post(Lane(0, {}, self.clock.now))
        document: dict[str, Any] = response.raise_for_status().json()
        return document

    def answered(self, status: int) -> int:
        return sum(answer == status for _, _, answer in self.calls)

    def _next(self) -> Lane:
        ready = [lane for lane in self.lanes.values() if lane.status == "ready"]
        if not ready:
            ready = [lane for lane in self.lanes.values() if lane.status == "waiting"][:1]
            ready[0].released = True
        return min(ready, key=lambda lane: (lane.due, lane.step, lane.worker_id))

    async def _call(self, lane: Lane) -> None:
        assert lane.retry_count <= MOST_RETRIES, self.message
        self.clock.now = max(self.clock.now, lane.due)
        response = await self._post(lane)
        self.calls.append((self.clock.now, lane.worker_id, response.status_code))
        if response.status_code == 429:
            lane.due = self.clock.now + int(response.headers["retry-after"])
            lane.retry_count += 1
        else:
            assert response.status_code == 200, response.text
            if not self.loses(len(self.calls)):
                self._apply(lane, response.json())

    async def _post(self, lane: Lane) -> httpx.Response:
        body = json.dumps(self._payload(lane)).encode()
        headers = sign(SECRET, f"msg_{lane.worker_id}_{lane.step}", int(time.time()), body)
        return await self.client.post("/webhooks", content=body, headers=headers)

    def _payload(self, lane: Lane) -> dict[str, Any]:
        turn: dict[str, Any] = {
            "task_id": self.task_id,
            "task_exec_id": "run/1",
            "worker_id": lane.worker_id,
            "worker_state": lane.state,
            "retry_count": lane.retry_count,
            "step": lane.step,
        }
        if lane.released:
            turn["worker_results"] = {
                other.worker_id: {"status": other.status, "state": other.state}
                for other in self.lanes.values()
                if other is not lane
            }
        return {
            "workspace_id": "default",
            "app_id": self.app_id,
            "app_state": self.app_state,
            "kind": "task_exec_worker",
            "task_exec_worker": turn,
        }

    def _apply(self, lane: Lane, answer: dict[str, Any]) -> None:
        lane.step += 1
        lane.state = answer.get("updated_worker_state", lane.state)
        lane.retry_count = lane.retry_count + 1 if answer["is_error"] else 0
        lane.progress = answer.get("progress", lane.progress)
        self.message = answer.get("message", "")
        self.output |= answer.get("output", {})
        self.items += answer.get("items_to_import", [])
        for mutation in answer.get("app_state_mutations", []):
            self._mutate(**mutation)
        for new in answer.get("new_workers", []):
            assert new["worker_id"] not in self.lanes
            worker = Lane(new["worker_id"], new["initial_state"], self.clock.now)
            self.lanes[worker.worker_id] = worker
        self._move(lane, answer)

    def _move(self, lane: Lane, answer: dict[str, Any]) -> None:
        lane.released = False
        backoff_secs = BACKOFF_SECS if answer["is_error"] else 0.0
        lane.due = self.clock.now + answer.get("delay_next_request_in_secs", backoff_secs)
        if answer["is_done"]:
            lane.status = "failed" if answer["is_error"] else "done"
        else:
            lane.status = "waiting" if answer.get("wait_for_workers") else "ready"

    def _mutate(self, operation: str, key: str, value: Any) -> None:
        before = self.app_state.get(key, 0) if operation == "increment" else 0
        self.app_state[key] = before + value
