"""The app of every benchmark: answers a step as fast as Python can, and keeps the times of what it has seen.

    python -m benchmarks.sink PORT

`POST /<anything>?delay_ms=N` takes a webhook payload, adds one to `worker_state.step` (0 if there is none), and answers
`is_done` when that has reached `worker_state.steps` (1 if there is none). `worker_state.items` asks for so many items
of 200 bytes in each answer, `worker_state.counts` for an increment of the app's state. After
`PUT /pace?pause_secs=S` no worker is done: each is asked to come again after half of that to one and a half times that,
at random, and how late it comes is kept.

`GET /seen` tells what came since the last `DELETE /seen`, `GET /count` how much. It knows just as much HTTP as the
clients here speak: a Content-Length, no chunks, one request after the other.
"""

import asyncio
import random
import sys
import time
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import orjson
import uvloop

from benchmarks.findings import percentile

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
ITEM_BYTES = 200

Lane = tuple[str, int]
"""One worker of one execution."""


@dataclass(slots=True)
class Seen:
    """What has come: a gap is the time from an answer to the same lane's next call, lateness that from its due time."""

    dues: dict[Lane, float] = field(default_factory=dict)
    calls: int = 0
    first: float = 0.0
    last: float = 0.0
    done: int = 0
    repeated: int = 0
    ends: dict[Lane, float] = field(default_factory=dict)
    steps: dict[Lane, int] = field(default_factory=dict)
    gaps: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)

    def take(self, lane: Lane, step: int) -> None:
        """A call has come."""
        now = time.time()
        self.calls += 1
        self.first = self.first or now
        if lane in self.ends:
            self.gaps.append(now - self.ends[lane])
        if lane in self.dues:
            self.lateness.append(now - self.dues.pop(lane))
        self.repeated += step < self.steps.get(lane, 0)
        self.steps[lane] = step + 1

    def answered(self, lane: Lane, pause_secs: float, *, is_done: bool) -> None:
        """The answer goes out."""
        self.last = self.ends[lane] = time.time()
        self.done += is_done
        if pause_secs:
            self.dues[lane] = self.last + pause_secs

    def count(self) -> dict[str, Any]:
        now = time.time()
        overdue = sum(due < now for due in self.dues.values())
        return {"calls": self.calls, "done": self.done, "at": now, "overdue": overdue}

    def told(self) -> dict[str, Any]:
        return {
            **self.count(),
            "repeated": self.repeated,
            "first": self.first,
            "last": self.last,
            "gap_p50_ms": percentile(self.gaps, 0.5) * 1000 if self.gaps else None,
            "gap_p99_ms": percentile(self.gaps, 0.99) * 1000 if self.gaps else None,
            "late_p50_ms": percentile(self.lateness, 0.5) * 1000 if self.lateness else None,
            "late_p99_ms": percentile(self.lateness, 0.99) * 1000 if self.lateness else None,
        }


class Conversation(asyncio.Protocol):
    """One connection."""

    seen = Seen()
    pause_secs = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        head_ends = self._received.find(b"\r\n\r\n")
        if head_ends < 0:
            return
        head = self._received[:head_ends]
        if head.startswith(b"POST "):
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(self._received) < head_ends + 4 + length:
                return
            body, self._received = self._received[head_ends + 4 :], b""
            self._step(head, body)
        else:
            self._received = b""
            self._administer(head)

    def _step(self, head: bytes, body: bytes) -> None:
        worker = orjson.loads(body)["task_exec_worker"]
        state = worker["worker_state"]
        lane = (worker["task_exec_id"], worker["worker_id"])
        step = state.get("step", 0)
        self.seen.take(lane, step)
        state["step"] = step + 1
        pause_secs = self.pause_secs and self.pause_secs * random.uniform(0.5, 1.5)
        is_done = not pause_secs and step + 1 >= state.get("steps", 1)
        answer: dict[str, Any] = {"is_done": is_done, "updated_worker_state": state}
        if pause_secs:
            answer["delay_next_request_in_secs"] = pause_secs
        if state.get("counts"):
            answer["app_state_mutations"] = [{"operation": "increment", "key": "steps", "value": 1}]
        if items := state.get("items"):
            answer["items_to_import"] = orjson.Fragment(items_of(items))
        text = orjson.dumps(answer)
        delay_ms = head.partition(b"delay_ms=")[2].partition(b" ")[0]
        if delay_ms:
            loop = asyncio.get_running_loop()
            loop.call_later(int(delay_ms) / 1000, self._answer, text, lane, pause_secs, is_done)
        else:
            self._answer(text, lane, pause_secs, is_done)

    def _answer(self, answer: bytes, lane: Lane, pause_secs: float, is_done: bool) -> None:
        self.seen.answered(lane, pause_secs, is_done=is_done)
        self._transport.write(OK % (len(answer), answer))

    def _administer(self, head: bytes) -> None:
        told = self.seen.told() if b" /seen " in head else self.seen.count()
        if head.startswith(b"DELETE "):
            Conversation.seen = Seen(self.seen.dues)
        if head.startswith(b"PUT "):
            Conversation.pause_secs = float(head.partition(b"pause_secs=")[2].partition(b" ")[0])
        text = orjson.dumps(told)
        self._transport.write(OK % (len(text), text))


@lru_cache
def items_of(count: int) -> bytes:
    """So many items, as the JSON of a list; each takes 200 bytes."""
    bare = len(orjson.dumps({"kind": "reading", "reading": {"external_id": "000000", "text": ""}}))
    text = "x" * (ITEM_BYTES - bare)
    return orjson.dumps(
        [{"kind": "reading", "reading": {"external_id": f"{number:06}", "text": text}} for number in range(count)]
    )


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Conversation, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
