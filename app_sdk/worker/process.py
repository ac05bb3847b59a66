"""The parent's side of a process that runs tasks."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any

# More than any line that a child says: a result of 64 KiB, or an error with its traceback, in escapes.
_LONGEST_LINE_BYTES = 1024 * 1024


class ChildDiedError(Exception):
    """The process has ended by itself; the message tells how."""


class ChildProcess:
    """A process that runs one task at a time; see `child.py` for what is said."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, modules: Sequence[str], environment: Mapping[str, str]) -> "ChildProcess":
        """Start one; it says what it has declared, or that it is broken."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "app_sdk.worker.child",
                str(theirs.fileno()),
                *modules,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **environment},
                # What is typed at the terminal is for the parent, which lets a task end first.
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=_LONGEST_LINE_BYTES)
        return cls(process, reader, writer)

    async def ask(self, asked: Mapping[str, Any]) -> None:
        """Have it run a task. Raises ChildDiedError."""
        self._writer.write(json.dumps(asked).encode() + b"\n")
        try:
            await self._writer.drain()
        except ConnectionError:
            await self._fail()

    async def hear(self) -> dict[str, Any]:
        """What it says next. Raises ChildDiedError."""
        try:
            text = await self._reader.readline()
        except (ConnectionError, ValueError):
            text = b""
        if not text:
            await self._fail()
        said = json.loads(text)
        assert isinstance(said, dict)
        return said

    async def end(self) -> None:
        """End it now, whatever it is at."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._writer.close()

    async def _fail(self) -> None:
        # It may have closed the line, and gone on.
        await self.end()
        raise ChildDiedError(f"the process that ran the task has died: {_fate(self._process.returncode)}")


def _fate(code: int | None) -> str:
    if code is None or code >= 0:
        return f"it exited with {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"
