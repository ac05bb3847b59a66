"""Processes that the demo starts, and that never outlive it."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from orchestrator.cli.failures import RunFailed

# Longer than the server's own limit for calls in flight (engine.drain_secs).
END_SECS = 30.0
_POLL_SECS = 0.05
_TAIL_LINES = 15
_PR_SET_PDEATHSIG = 1


class Child:
    """A process whose output goes to a log file."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, also once more after it has ended."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a command of ours
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C on the terminal reaches the demo alone, which then ends its children in order.
                start_new_session=True,
                preexec_fn=_follow_parent(os.getpid()),
            )

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process is None or self._process.poll() is not None

    def ended(self) -> RunFailed:
        """The error that it has ended before its time."""
        code = None if self._process is None else self._process.poll()
        return RunFailed(f"the {self.name} has ended, with code {code}; the end of {self.log}:", *self._tail())

    def wait_for(self, url: str, limit_secs: float) -> httpx.Response:
        """The first successful answer to a GET of the URL; raises RunFailed if it ends or takes long."""
        deadline = time.monotonic() + limit_secs
        with httpx.Client(timeout=2, trust_env=False, verify=url.startswith("https:")) as http:
            while time.monotonic() < deadline:
                if self.has_ended:
                    raise self.ended()
                response = _answer(http, url)
                if response is not None and response.is_success:
                    return response
                time.sleep(_POLL_SECS)
        raise RunFailed(
            f"the {self.name} does not answer at {url} after {limit_secs:g} s; the end of {self.log}:",
            *self._tail(),
        )

    def end(self) -> None:
        """Ask it to end, and kill it if it does not, or if somebody presses Ctrl-C once more."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_SECS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.kill()
            self._process.wait()

    def _tail(self) -> list[str]:
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]


def _answer(http: httpx.Client, url: str) -> httpx.Response | None:
    """The answer of a process that may not listen yet."""
    try:
        return http.get(url)
    except httpx.HTTPError:
        return None


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt, so that what must be ended on the way out is."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _follow_parent(parent: int) -> Callable[[], None] | None:
    """What a child does first, on Linux: ask for SIGTERM when its parent dies, even of SIGKILL."""
    if sys.platform != "linux":
        return None
    # Loaded here: between fork and exec a child should do as little as possible.
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def follow() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        # The parent may have died before the line above.
        if os.getppid() != parent:
            os._exit(1)

    return follow
