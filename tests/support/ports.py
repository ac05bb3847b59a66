"""Ports for the processes that a test starts, which nobody takes before they listen or while they are started again.

A port that the system picks is anybody's once its probe has closed: another test's, or the client's end of any
connection. These lie below what Linux and macOS pick from, and each test process has blocks of them to itself.
"""

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FIRST, _PER_BLOCK, _BLOCKS = 20_000, 50, 200


def free_port() -> int:
    """A port of this process's own that nobody listens on, never the same one twice."""
    return next(_ports)


def _free_ports() -> Iterator[int]:
    while True:
        block = _own_block()
        yield from (port for port in range(block, block + _PER_BLOCK) if _is_free(port))


def _own_block() -> int:
    directory = Path(tempfile.gettempdir()) / f"orchestrator-test-ports-{os.getuid()}"
    directory.mkdir(exist_ok=True)
    for number in range(_BLOCKS):
        # Never closed: it holds the lock until this process has ended, however that comes about.
        file = os.open(directory / str(number), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        return _FIRST + number * _PER_BLOCK
    raise AssertionError("every block of ports is taken")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


_ports = _free_ports()
