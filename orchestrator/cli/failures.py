"""How a command ends: the exit codes, and an error for each of them that is not a success."""

from collections.abc import Mapping
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process returns. RUN_FAILED is a check's negative result too; INTERRUPTED is the shells'."""

    OK = 0
    RUN_FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNREACHABLE = 5
    INTERRUPTED = 130


class CommandError(Exception):
    """Ends the command: one line that says what went wrong, then a line for each thing to do next."""

    exit_code: ClassVar[ExitCode] = ExitCode.RUN_FAILED

    def __init__(self, message: str, *next_steps: str) -> None:
        super().__init__(message)
        self.message = message
        self.next_steps = next_steps


class RunFailed(CommandError):
    """The run, or what was checked, failed."""


class Misused(CommandError):
    """The command line, a file that it names, or the settings cannot be used."""

    exit_code = ExitCode.USAGE


class Missing(CommandError):
    """The server has no such thing."""

    exit_code = ExitCode.NOT_FOUND


class Refused(CommandError):
    """The server does not do it; `facts` is the whole problem document."""

    exit_code = ExitCode.REFUSED

    def __init__(self, message: str, *next_steps: str, facts: Mapping[str, object] | None = None) -> None:
        super().__init__(message, *next_steps)
        self.facts = facts or {}


class Unreachable(CommandError):
    """No server answers there, or what answers is not an orchestrator that works."""

    exit_code = ExitCode.UNREACHABLE
