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
import socket
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from app_sdk.tasks.application import Application
from app_sdk.tasks.declared import PythonTask, ScheduledTask, called_by_event, called_with, declared_in
from app_sdk.tasks.results import ResultError, encoded

_LONGEST_LINE = 2000
_LONGEST_MESSAGE = 2000
_LONGEST_TRACE = 8000
_EXIT_WITHOUT_PARENT = 3

_log = logging.getLogger(__name__)


class _Line:
    """The connection with the parent. Threads of a task may speak at the same time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def say(self, said: Mapping[str, Any]) -> None:
        text = json.dumps(said, ensure_ascii=True).encode() + b"\n"
        with self._lock:
            self._file.write(text)
            self._file.flush()

    def tell(self, said: Mapping[str, Any]) -> None:
        """As `say`, of a running task."""
        line = said.get("log")
        self.say(said if line is None else {"log": _plain(line, _LONGEST_LINE)})


def main(descriptor: int, modules: Sequence[str]) -> None:
    """Import the modules, say what they declare, and run what is asked for, until the parent is gone."""
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
    os._exit(_EXIT_WITHOUT_PARENT)


def _import(modules: Sequence[str]) -> None:
    for name in modules:
        module = importlib.import_module(name)
        for beneath in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
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
    app = Application(name, task_id=asked["id"], attempt=asked["attempt"], tell=line.tell)
    returned = task.function(app, *args, **kwargs)
    return asyncio.run(_awaited(returned)) if inspect.isawaitable(returned) else returned


async def _awaited(returned: Any) -> Any:
    return await returned


def _words(error: BaseException) -> str:
    return _plain(f"{type(error).__name__}: {error}", _LONGEST_MESSAGE)


def _plain(text: str, longest: int) -> str:
    """The text as JSON takes it everywhere."""
    return text[:longest].replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
