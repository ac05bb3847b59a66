"""The whole of an executor: poll, start, work, say that it goes on, and tell how it ended.

Written with plain HTTP calls, so that it can be read as a description of what an executor in any language does.
"""

import socket
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

Progress = Callable[[int, int, str], None]
Handler = Callable[[Any, Progress], Any]

LONG_POLL_SECS = 20.0
PAUSE_SECS = 1.0


class Refused(Exception):
    """The orchestrator has refused a call: most often, because the task is somebody else's by now."""


@dataclass(frozen=True, slots=True)
class Executor:
    """Works on tasks for as long as it is told to. `handlers`: by the name of the task, what does it."""

    client: httpx.Client
    handlers: Mapping[str, Handler]
    name: str

    def run_once(self) -> int:
        """Wait for a task, for a while, and do it; returns how many were done."""
        asked = {"taskDefinitions": list(self.handlers), "timeout": int(LONG_POLL_SECS * 1000), "executor": self.name}
        tasks = self._call("long-poll", **asked)["resources"]
        for task in tasks:
            self._work(task)
        return len(tasks)

    def _work(self, task: Mapping[str, Any]) -> None:
        claim = {"id": task["id"], "execId": task["execId"]}

        def progress(current: int, total: int, unit: str) -> None:
            # Each of these also says that this executor is alive; after a silence its task goes to another one.
            told = {"progress-current": current, "progress-total": total, "progress-unit": unit}
            self._call("notify", **claim, notification="progress", **told)

        try:
            self._call("start", **claim)
            result = self.handlers[task["definition"]](task["params"], progress)
        except Refused as refusal:
            print(f"{task['id']}: left alone: {refusal}")  # noqa: T201
            return
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is told, and the next task is waited for
            self._end("fail", claim, error={"message": f"{type(error).__name__}: {error}"})
            return
        self._end("success", claim, result=result)

    def _end(self, method: str, claim: Mapping[str, str], **said: Any) -> None:
        try:
            self._call(method, **claim, **said)
            print(f"{claim['id']}: {method}")  # noqa: T201
        except Refused as refusal:
            print(f"{claim['id']}: {method} was refused: {refusal}")  # noqa: T201

    def _call(self, method: str, **params: Any) -> Any:
        response = self.client.post("/rpc", json={"method": f"awf.task/{method}", "params": params})
        answer = response.json()
        if "result" not in answer:
            raise Refused(answer.get("error", {}).get("message", f"HTTP {response.status_code}"))
        return answer["result"]


def run(url: str, token: str, handlers: Mapping[str, Handler], *, once: bool = False) -> None:
    """Work on tasks until interrupted, or once; while the orchestrator is away, try again."""
    name = f"{socket.gethostname()}:{uuid.uuid4()}"
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=LONG_POLL_SECS + 10) as client:
        executor = Executor(client, handlers, name)
        print(f"{name} waits for tasks at {url}", flush=True)  # noqa: T201
        done = 0
        while not (once and done):
            try:
                done += executor.run_once()
            except httpx.TransportError as error:
                print(f"{url} is away: {error}", flush=True)  # noqa: T201
                time.sleep(PAUSE_SECS)


def count_words(params: Any, progress: Progress) -> dict[str, Any]:
    """How many words a text has, line by line."""
    lines = params["text"].splitlines()
    words = 0
    for done, line in enumerate(lines, 1):
        words += len(line.split())
        progress(done, len(lines), "lines")
    return {"lines": len(lines), "words": words}
