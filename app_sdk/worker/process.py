"""The parent's side of a process that runs tasks."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

# More than any line that a child says: a result of 64 KiB, or an error with its traceback, in escapes.
_LONGEST_LINE_BYTES = 1024 * 1024
# What a process has said before its end is read within this time.
_LAST_WORDS_SECS = 1.0


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

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, asked: Mapping[str, Any]) -> None:
        """Have it run a task. Raises ChildDiedError."""
        self._writer.write(json.dumps(asked).encode() + b"\n")
        try:
            await self._writer.drain()
        except ConnectionError:
            raise await self._death() from None

    async def hear(self) -> dict[str, Any]:
        """What it says next. Raises ChildDiedError."""
        # Its end is waited for, too: a process that it has started may hold its line open.
        reading = asyncio.ensure_future(self._reader.readline())
        ending = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await asyncio.wait({reading}, timeout=_LAST_WORDS_SECS)
            said = json.loads(reading.result()) if reading.done() else None
        except (ConnectionError, ValueError):
            # Nothing, or half a line.
            said = None
        finally:
            reading.cancel()
            ending.cancel()
        if not isinstance(said, dict):
            raise await self._death()
        return said

    async def end(self) -> None:
        """End it now, whatever it is at, with all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._writer.close()

    async def _death(self) -> ChildDiedError:
        # It may have closed the line, and gone on.
        await self.end()
        return ChildDiedError(f"the process that ran the task has died: {_fate(self._process.returncode)}")


def _fate(code: int | None) -> str:
    if code is None or code >= 0:
        return f"it exited with {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"
