"""The app in a process of its own, and what it tells."""

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from benchmarks.peers.processes import Group, running
from tests.support.server import free_port, wait_for


@dataclass(frozen=True, slots=True)
class Sink:
    """The app at a URL, and its process."""

    url: str
    group: Group

    def seen(self) -> dict[str, Any]:
        """What it has seen since it was last told to forget."""
        return self._asked("GET")

    def forget(self) -> None:
        self._asked("DELETE")

    def _asked(self, method: str) -> dict[str, Any]:
        try:
            with urlopen(Request(f"{self.url}seen", method=method), timeout=10) as answer:
                told: dict[str, Any] = json.load(answer)
        except URLError as error:
            raise RuntimeError(f"the app {self.group.ended() or 'is out of reach'}: {error}") from error
        return told


@contextmanager
def running_sink(log: Path) -> Iterator[Sink]:
    """`benchmarks/sink.py` on a free loopback port, for the length of the block."""
    port = free_port()
    with running([sys.executable, "-m", "benchmarks.sink", str(port)], log) as group:
        sink = Sink(f"http://127.0.0.1:{port}/", group)

        def is_up() -> bool:
            with socket.socket() as probe:
                return group.ended() is not None or probe.connect_ex(("127.0.0.1", port)) == 0

        wait_for(is_up, "the app")
        yield sink
