"""The app that everything calls, `benchmarks/sink.py`, in a process of its own; and what it tells."""

import json
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from benchmarks.processes import Group, running
from tests.support.ports import free_port
from tests.support.server import wait_for

# The environment may name a proxy, which has no business on loopback.
_OPENER = build_opener(ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Sink:
    """The app at a URL, and its process."""

    url: str
    group: Group

    def seen(self) -> dict[str, Any]:
        """All that it has seen since it was last told to forget. It sorts what it tells: not for waiting."""
        return self._asked("GET", "seen")

    def count(self) -> dict[str, Any]:
        """`calls`, `done`, `overdue` (workers that should have come by now), and `at`, its time of the day."""
        return self._asked("GET", "count")

    def forget(self) -> None:
        """Begin anew; the times at which workers are due are kept."""
        self._asked("DELETE", "seen")

    def pace(self, pause_secs: float) -> None:
        """From now on, workers are never done, and asked to come again after so long on the average."""
        self._asked("PUT", f"pace?pause_secs={pause_secs}")

    def wait_for_the_last(self, lanes: int, patience_secs: float = 600.0) -> None:
        """Wait until so many workers are done. Raises AssertionError."""
        wait_for(lambda: self.count()["done"] >= lanes, f"the last of {lanes} workers", patience_secs)

    def wait_for_calls(self, calls: int, patience_secs: float = 600.0) -> None:
        """Wait until it has been called so many times since it was told to forget. Raises AssertionError."""
        wait_for(lambda: self.count()["calls"] >= calls, f"{calls} calls", patience_secs)

    def rate(self, secs: float) -> float:
        """Calls a second over so many seconds from now on."""
        before = self.count()
        time.sleep(secs)
        after = self.count()
        return float((after["calls"] - before["calls"]) / (after["at"] - before["at"]))

    def _asked(self, method: str, path: str) -> dict[str, Any]:
        try:
            with _OPENER.open(Request(f"{self.url}{path}", method=method), timeout=30) as answer:
                told: dict[str, Any] = json.load(answer)
        except URLError as error:
            raise RuntimeError(f"the app {self.group.ended() or 'is out of reach'}: {error}") from error
        return told


@contextmanager
def running_sink(log: Path | None = None) -> Iterator[Sink]:
    """The app on a free loopback port, for the length of the block; what it prints goes to `log`."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        command = [sys.executable, "-m", "benchmarks.sink", str(port)]
        with running(command, log or Path(directory) / "log") as group:

            def is_up() -> bool:
                with socket.socket() as probe:
                    return group.ended() is not None or probe.connect_ex(("127.0.0.1", port)) == 0

            wait_for(is_up, "the app")
            yield Sink(f"http://127.0.0.1:{port}/", group)
