"""The app of every benchmark: answers a step as fast as Python can, and keeps the times of what it has seen.

    python -m benchmarks.sink PORT

`POST /<anything>?delay_ms=N` takes a webhook payload, adds one to `worker_state.step`, and answers `is_done` when that
has reached `worker_state.steps`. `GET /seen` tells what came since the last `DELETE /seen`. It knows just as much HTTP
as the clients here speak: a Content-Length, no chunks, one request after the other.
"""

import asyncio
import sys
import time
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import uvloop

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


@dataclass(slots=True)
class Seen:
    """What has come: one lane is one worker of one execution, and its gap the time from an answer to its next call."""

    calls: int = 0
    first: float = 0.0
    last: float = 0.0
    done: int = 0
    repeated: int = 0
    ends: dict[tuple[str, int], float] = field(default_factory=dict)
    steps: dict[tuple[str, int], int] = field(default_factory=dict)
    gaps: list[float] = field(default_factory=list)
    firsts: dict[str, float] = field(default_factory=dict)
    """When each execution was first called, on the wall clock."""

    def take(self, lane: tuple[str, int], step: int) -> None:
        now = time.time()
        self.calls += 1
        self.first = self.first or now
        if lane in self.ends:
            self.gaps.append(now - self.ends[lane])
        self.repeated += step < self.steps.get(lane, 0)
        self.steps[lane] = step + 1
        self.firsts.setdefault(lane[0], now)

    def answered(self, lane: tuple[str, int], *, is_done: bool) -> None:
        self.last = self.ends[lane] = time.time()
        self.done += is_done

    def told(self) -> dict[str, Any]:
        gaps = sorted(self.gaps)
        return {
            "calls": self.calls,
            "done": self.done,
            "repeated": self.repeated,
            "first": self.first,
            "last": self.last,
            "gap_p50_ms": gaps[len(gaps) // 2] * 1000 if gaps else None,
            "gap_p99_ms": gaps[int(len(gaps) * 0.99)] * 1000 if gaps else None,
            "firsts": self.firsts,
        }


class Conversation(asyncio.Protocol):
    """One connection."""

    seen = Seen()

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
        type(self).seen.take(lane, state["step"])
        state["step"] += 1
        is_done = state["step"] >= state["steps"]
        answer = orjson.dumps({"is_done": is_done, "updated_worker_state": state})
        delay_ms = head.partition(b"delay_ms=")[2].partition(b" ")[0]
        if delay_ms:
            asyncio.get_running_loop().call_later(int(delay_ms) / 1000, self._answer, answer, lane, is_done)
        else:
            self._answer(answer, lane, is_done)

    def _answer(self, answer: bytes, lane: tuple[str, int], is_done: bool) -> None:
        type(self).seen.answered(lane, is_done=is_done)
        self._transport.write(OK % (len(answer), answer))

    def _administer(self, head: bytes) -> None:
        told = orjson.dumps(type(self).seen.told())
        if head.startswith(b"DELETE "):
            type(self).seen = Seen()
        self._transport.write(OK % (len(told), told))


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Conversation, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
