"""The process beneath a worker that runs tasks, one after the other. It speaks JSON lines over a socket.

It hears `{"id", "task", "input", "attempt"}`, and says `{"declared"}` once, then `{"log"}` and `{"progress"}` while a
task runs, and `{"result"}` or `{"error"}` at its end. It ends with its parent, whatever it is at.
"""

import asyncio
import importlib
import inspect
import json
import logging
import os
import pkgutil
import queue
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from app_sdk.protocol.strict_json import dumps
from app_sdk.tasks.application import Application
from app_sdk.tasks.declared import PythonTask, ScheduledTask, called_by_event, called_with, declared_in
from app_sdk.tasks.results import ResultError, encoded

_LONGEST_LINE = 2000
_LONGEST_MESSAGE = 2000
_LONGEST_TRACE = 8000
_DEPTH = 200

_log = logging.getLogger(__name__)


class _Line:
    """The connection with the parent. Threads of a task may speak at the same time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def say(self, said: Mapping[str, Any]) -> None:
        text = dumps(said, max_depth=_DEPTH) + b"\n"
        with self._lock:
            self._file.write(text)
            self._file.flush()


class _Voice:
    """What a running task tells; a thread that outlives its task is not heard any more."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._is_over = False

    def tell(self, said: Mapping[str, Any]) -> None:
        if self._is_over:
            return
        match said:
            case {"log": line}:
                self._line.say({"log": _plain(line, _LONGEST_LINE) or " "})
            case {"progress": {"unit": str(unit)} as progress}:
                self._line.say({"progress": {**progress, "unit": _plain(unit, _LONGEST_LINE)}})
            case _:
                self._line.say(said)

    def end(self) -> None:
        self._is_over = True


def main(descriptor: int, modules: Sequence[str]) -> None:
    """Import the modules, say what they declare, and run what is asked for, until the parent is gone."""
    # A manager of services may tell all of its processes to stop; the parent lets this one end its task first. What a
    # task starts has the usual handlers again.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    line = _Line(connection.makefile("wb"))
    asked: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_hear, args=(connection.makefile("rb"), asked), daemon=True, name="parent").start()
    try:
        _import(modules)
    except BaseException as error:
        line.say({"broken": _words(error)})
        raise
    served = declared_in(modules)
    line.say({"declared": {name: one.entry() for name, one in served.items()}})
    while True:
        line.say(_run(served, asked.get(), line))


def _hear(lines: BinaryIO, asked: "queue.SimpleQueue[Any]") -> None:
    for text in lines:
        asked.put(json.loads(text))
    # The parent is gone: nobody tells any more that this task is worked on, and it may be given to another worker.
    # This process leads a group of its own: it goes with all that its tasks have started.
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _import(modules: Sequence[str]) -> None:
    for name in modules:
        module = importlib.import_module(name)
        for beneath in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
            # A `__main__` is a program, and would run.
            if not beneath.name.endswith(".__main__"):
                importlib.import_module(beneath.name)


def _run(served: Mapping[str, PythonTask[Any, Any] | ScheduledTask], asked: Mapping[str, Any], line: _Line) -> Any:
    try:
        return {"result": encoded(_call(served[asked["task"]], asked, line))}
    except ResultError as error:
        return {"error": {"message": _plain(str(error), _LONGEST_MESSAGE)}}
    except BaseException as error:  # noqa: BLE001 - whatever a task raises ends the task, not its process
        _log.exception("%s has failed", asked["task"])
        trace = _plain(traceback.format_exc()[-_LONGEST_TRACE:], _LONGEST_TRACE)
        return {"error": {"message": _words(error), "type": type(error).__name__, "traceback": trace}}


def _call(one: PythonTask[Any, Any] | ScheduledTask, asked: Mapping[str, Any], line: _Line) -> Any:
    task = one.task if isinstance(one, ScheduledTask) else one
    name, args, kwargs = (called_by_event if task.patterns else called_with)(asked["input"])
    voice = _Voice(line)
    app = Application(name, task_id=asked["id"], attempt=asked["attempt"], tell=voice.tell)
    try:
        returned = task.function(app, *args, **kwargs)
        return asyncio.run(_awaited(returned)) if inspect.isawaitable(returned) else returned
    finally:
        voice.end()


async def _awaited(returned: Any) -> Any:
    return await returned


def _words(error: BaseException) -> str:
    return _plain(f"{type(error).__name__}: {error}", _LONGEST_MESSAGE)


def _plain(text: str, longest: int) -> str:
    """The text as JSON takes it everywhere."""
    return text[:longest].replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
