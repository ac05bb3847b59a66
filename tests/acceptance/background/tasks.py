"""Tasks that come to every kind of end. What they did before is written to the file that they are given."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from app_sdk import Application, ScheduledTask, on_event, task


def note(path: str, line: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


@task
def greet(app: Application, name: str, *, loudly: bool = False) -> dict[str, Any]:
    app.log(f"greets {name}\0")
    app.progress(1, 2, "words")
    return {"text": f"Hello, {name}{'!' if loudly else '.'}", "from": app.name, "attempt": app.attempt}


@task(name="give.back")
async def give_back(app: Application, value: Any) -> Any:
    await asyncio.sleep(0)
    return value


@task
def not_json(app: Application) -> Any:
    return {1, 2}


@task
def crash(app: Application, path: str) -> None:
    note(path, f"attempt {app.attempt}")
    os.kill(os.getpid(), signal.SIGKILL)


@task(acks_late=True, retry_delay=0.1)
def crash_late(app: Application, path: str) -> None:
    note(path, f"attempt {app.attempt}")
    os.kill(os.getpid(), signal.SIGKILL)


@task(acks_late=True, retry_delay=0.1)
def second_time_lucky(app: Application, path: str) -> str:
    note(path, f"attempt {app.attempt}")
    if app.attempt == 1:
        sys.exit("not today")
    return "done"


@task
async def block(app: Application, path: str, secs: float) -> str:
    """Holds up its event loop for longer than a worker may be silent."""
    note(path, "begun")
    time.sleep(secs)  # noqa: ASYNC251 - that is what it is for
    note(path, "ended")
    return "done"


@task(acks_late=True, retry_delay=0.1)
def hold(app: Application, path: str) -> str:
    """Ends when there is a file beside its own."""
    note(path, f"attempt {app.attempt}")
    while not Path(f"{path}.go").exists():
        time.sleep(0.02)
    return f"attempt {app.attempt}"


@task
def chatter(app: Application, lines: int) -> str:
    for number in range(lines):
        app.log(f"line {number}")
        app.progress(number, lines, "l\0nes")
    return "done"


@task
def crash_with_child(app: Application, path: str) -> None:
    """What it has started holds everything open that it had."""
    pid = os.fork()
    if pid == 0:
        time.sleep(300)
        os._exit(0)
    note(path, str(pid))
    os.kill(os.getpid(), signal.SIGKILL)


@task
def hold_with_child(app: Application, path: str) -> None:
    note(path, str(subprocess.Popen(["sleep", "300"]).pid))
    time.sleep(300)


@task
def identify(app: Application) -> dict[str, Any]:
    return {"id": UUID(int=7)}


@task
def speak_later(app: Application, path: str) -> str:
    """Leaves a thread that goes on logging after its end."""

    def speak() -> None:
        while not Path(path).exists():
            app.log("of another run")
            time.sleep(0.01)

    threading.Thread(target=speak, daemon=True).start()
    return "done"


@task
def open_door(app: Application, path: str) -> str:
    app.log("looks at the door")
    if not Path(path).exists():
        raise RuntimeError("the door is shut")
    return "came in"


@on_event("core.task.tests.acceptance.background.#.failure.v1")
def mourn(app: Application, event: dict[str, Any]) -> str:
    return f"{app.name}: {event['data']['task']} {event['data']['id']}"


every_second = ScheduledTask(greet, ["you"], {"loudly": True}, schedule=1, name="every_second")
