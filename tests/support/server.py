"""Real processes: an orchestrator server and sample apps, on loopback ports, ended by their pid."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.support.ports import free_port

T = TypeVar("T")

PATIENCE_SECS = 60.0
ROOT = Path(__file__).parents[2]


def wait_for(probe: Callable[[], T | None], what: str, patience_secs: float = PATIENCE_SECS) -> T:
    """The first result of `probe` that is true; fails, naming what was waited for, when it takes too long."""
    until = time.monotonic() + patience_secs
    pause = 0.01
    while not (found := probe()):
        assert time.monotonic() < until, f"waited {patience_secs:g} s in vain for {what}"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)
    return found


@dataclass(slots=True)
class Server:
    """An orchestrator server in a process of its own; `start` again after `kill` resumes from the same directory."""

    directory: Path
    port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return (self.directory / "admin-token").read_text().strip()

    @property
    def log(self) -> str:
        return (self.directory / "server.log").read_text()

    def start(self) -> None:
        self.directory.mkdir(exist_ok=True)
        command = ["serve", "--port", str(self.port), "--data-dir", str(self.directory)]
        self.process = spawn(self.directory / "server.log", "orchestrator", *command, **self.environment)
        wait_for(self._is_ready, f"the server on port {self.port}")

    def kill(self) -> None:
        """As a power cut would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; returns the exit code after the drain."""
        return self._end(signal.SIGTERM)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=30, **options)

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.request("GET", path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, expected: int = 201) -> Any:
        answer = self.request("POST", path, json=body if body is not None else {})
        assert answer.status_code == expected, answer.text
        return answer.json()

    def install(self, manifest: dict[str, Any], secret: str) -> None:
        self.post("/v1/apps", {"manifest": manifest, "secret_key": secret})

    def launch(self, task_id: str, state: dict[str, Any] | None = None, **more: Any) -> str:
        return str(self.post("/v1/executions", {"task_id": task_id, "state": state or {}, **more})["id"])

    def execution(self, execution_id: str) -> Any:
        return self.get(f"/v1/executions/{execution_id}")

    def ended(self, execution_id: str, patience_secs: float = PATIENCE_SECS) -> Any:
        """Wait until the execution has ended; returns it."""

        def probe() -> Any:
            found = self.execution(execution_id)
            return found if found["ended_at"] else None

        return wait_for(probe, f"the end of {execution_id}", patience_secs)

    def collected(self) -> list[Any]:
        """Every item in the built-in collector."""
        answer = self.request("GET", "/collector/items", params={"format": "ndjson"})
        assert answer.status_code == 200, answer.text
        return [httpx.Response(200, content=line).json() for line in answer.text.splitlines() if line]

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=40)


def spawn(log: Path, module: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """Run a module of this tree in a process of its own, its output in `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


@contextmanager
def running_server(directory: Path, **environment: str) -> Iterator[Server]:
    """A server that is ready; ended at the end of the block, if it still runs."""
    server = Server(directory, environment=environment)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()


@contextmanager
def running_sample(directory: Path, module: str, secret: str, *arguments: str) -> Iterator[str]:
    """A sample app; gives the URL that it serves at."""
    port = free_port()
    process = spawn(directory / "sample.log", module, "--port", str(port), *arguments, APP_SECRET_KEY=secret)
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        assert process.poll() is None, (directory / "sample.log").read_text()
        try:
            return httpx.get(f"{url}/manifest.json", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(is_up, module)
        yield url
    finally:
        process.kill()
        process.wait(timeout=10)
