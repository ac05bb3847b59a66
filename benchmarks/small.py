"""A small execution on an idle server: from its launch to its end, ten workers of one step each.

python -m benchmarks.small [--launches 200] [--rounds 3]
"""

import json
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from benchmarks.findings import Findings, Table, Target, at_most, number, percentile
from benchmarks.node import KINDS, NAMES, Kind, install, order, staged
from benchmarks.part import Part, tell
from benchmarks.stores import Stores
from benchmarks.workload import Load, state_of
from tests.support.server import Server

PAUSE_SECS = 0.05
PATIENCE_SECS = 30.0
WARM_UP = 5
METHOD = """\
Ten workers, 1 KB of state each, one step a worker, launched one at a time when nothing else runs. The time begins
before `POST /v1/executions` is sent and ends when `GET /v1/executions/{{id}}`, asked again and again on the same
connection, is answered with the end. So the last of these requests is in it, and the server answers the others while
it works. {launches} launches in each of {rounds} rounds, all taken together."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many launches a round."""

    launches: int = 200


QUICK = Sizes(5)


class Client:
    """One connection to the API that stays open; costs less than what it measures."""

    def __init__(self, server: Server) -> None:
        self._connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
        self._headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """What the API answers. Raises RuntimeError for anything but a success."""
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:200]!r}")
        return json.loads(text)

    def close(self) -> None:
        self._connection.close()


def measure(sizes: Sizes, rounds: int) -> Findings:
    """Both databases, in turns."""
    found: dict[Kind, list[float]] = {kind: [] for kind in KINDS}
    with ExitStack() as stack:
        stores = Stores(stack)
        for _ in range(rounds):
            for kind, times in found.items():
                with staged(stores, kind) as stage, stage.node() as server, closing(Client(server)) as client:
                    install(server, stage.sink)
                    taken = [_launch_to_end_ms(client) for _ in range(WARM_UP + sizes.launches)][WARM_UP:]
                times += taken
                tell(f"small execution, {NAMES[kind]}: p50 {percentile(taken, 0.5):.1f} ms")
    return _findings(found, sizes, rounds)


def _launch_to_end_ms(client: Client) -> float:
    """Milliseconds of one launch; before it the server is left alone for a moment, so that it is idle."""
    body = order(0, state_of(Load(1, 1)))
    time.sleep(PAUSE_SECS)
    began = time.perf_counter()
    execution = client.ask("POST", "/v1/executions", body)["id"]
    while (now := client.ask("GET", f"/v1/executions/{execution}"))["ended_at"] is None:
        if time.perf_counter() - began > PATIENCE_SECS:
            raise RuntimeError(f"{execution} has not ended: {now['status']}")
    taken = time.perf_counter() - began
    if now["status"] != "succeeded":
        raise RuntimeError(f"{execution} has {now['status']}: {now['message']}")
    return taken * 1000


def _findings(found: dict[Kind, list[float]], sizes: Sizes, rounds: int) -> Findings:
    rows = []
    targets: list[Target] = []
    for kind, times in found.items():
        p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
        rows.append((NAMES[kind], number(p50), number(p99), number(max(times))))
        targets.append(at_most(f"small execution, p50, {NAMES[kind]}", p50, 25, " ms"))
    table = Table(("", "p50 ms", "p99 ms", "longest ms"), tuple(rows))
    method = METHOD.format(launches=sizes.launches, rounds=rounds)
    return Findings("A small execution", method, (table,), (), tuple(targets))


PART = Part("small", measure, Sizes(), QUICK)

if __name__ == "__main__":
    PART.command(__doc__)
