"""Boots servers in a fraction of a second: a process that has imported the product forks a child for each boot.

The child is the server, started by the same function as `orchestrator serve`; what is saved is the import alone. It is
forked before there is any thread or event loop. Run as `python -m tests.chaos.zygote`; it reads one JSON object to a
line, {"environment": {…}, "log": "…", "point": {"name", "hits", "mark", "seed"} or null}, and answers with lines
{"started": pid} and, when a child has ended, {"ended": pid, "status": …} (negative: the signal).
"""

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

from orchestrator.cli.failures import Refused
from orchestrator.domain.errors import OrchestratorError
from orchestrator.runtime.server import serve
from orchestrator.settings import load_settings
from orchestrator.store import schema
from orchestrator.store.database import DatabaseOptions
from tests.chaos.failpoints import arm

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Fork on demand until standard input ends; then end every child."""
    _warm_up()
    assert len(list(Path("/proc/self/task").iterdir())) == threading.active_count() == 1, "a fork would lose threads"
    gc.collect()
    gc.freeze()
    rung, ringer = os.pipe()
    os.set_blocking(ringer, False)
    signal.set_wakeup_fd(ringer)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    children: set[int] = set()
    pending = b""
    print(json.dumps({"ready": os.getpid()}), flush=True)
    while True:
        readable, _, _ = select.select([0, rung], [], [])
        if rung in readable:
            os.read(rung, 1024)
            _reap(children)
        if 0 in readable:
            data = os.read(0, 65536)
            if not data:
                break
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                children.add(_boot(json.loads(line)))
    for child in children:
        os.kill(child, signal.SIGKILL)


def _warm_up() -> None:
    """Import what the server imports only on its way up, and compile what is run as a file: the migrations."""
    sys.dont_write_bytecode = False
    for module in ("httptools_impl", "h11_impl"):
        importlib.import_module(f"uvicorn.protocols.http.{module}")
    for module in ("uvicorn.lifespan.on", "uvicorn.loops.uvloop", "psycopg_binary", "apscheduler.executors.asyncio"):
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as directory:
        schema.upgrade(DatabaseOptions(f"sqlite:///{directory}/warm.db"))


def _reap(children: set[int]) -> None:
    for child in tuple(children):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            children.discard(child)
            print(json.dumps({"ended": child, "status": os.waitstatus_to_exitcode(status)}), flush=True)


def _boot(order: dict[str, Any]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_server(order, parent)
    print(json.dumps({"started": pid}), flush=True)
    return pid


def _be_server(order: dict[str, Any], parent: int) -> NoReturn:
    code = 70
    try:
        # Whoever ends the zygote ends its servers.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(code)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, target)
        os.closerange(3, 256)
        os.environ.update(order["environment"])
        point = order["point"]
        if point is not None:
            arm(point["name"], point["hits"], point["mark"], point["seed"])
        code = serve(load_settings(None, {}))
    except (OrchestratorError, Refused) as error:
        print(f"refused: {error}", file=sys.stderr, flush=True)
        code = 4
    except BaseException:  # noqa: BLE001 - told in the log; a forked child must not go on as the zygote
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
