"""What a Python task is called with first: the application that it works for, and the run that it is."""

from collections.abc import Callable, Mapping
from typing import Any

_MOST = 2**53
_LONGEST_UNIT = 255

Tell = Callable[[Mapping[str, Any]], None]


class Application:
    """The application that sent a task; the first argument of every task, and of `send_task`.

    `task_id` and `attempt` (1 in the first) are of the run that it was given to; None and 1 outside of one. What is
    logged there goes to the run's log, and elsewhere nowhere: tests call a task with an `Application("name")`.
    """

    def __init__(self, name: str, *, task_id: str | None = None, attempt: int = 1, tell: Tell | None = None) -> None:
        if not name:
            raise ValueError("an application has a name")
        self.name = name
        self.task_id = task_id
        self.attempt = attempt
        self._tell = tell

    def log(self, line: str) -> None:
        """Add a line to the run's log."""
        if self._tell is not None:
            self._tell({"log": str(line)})

    def progress(self, current: int, total: int | None = None, unit: str | None = None) -> None:
        """Say how far the run has come, such as `progress(12, 50, "companies")`.

        Raises ValueError for what is no whole number from 0 to 2^53, and for a unit of more than 255 characters.
        """
        for number in (current, total):
            if number is not None and not (0 <= number <= _MOST and number == int(number)):
                raise ValueError(f"progress counts whole things, and not {number}")
        if unit is not None and len(unit) > _LONGEST_UNIT:
            raise ValueError(f"a unit has at most {_LONGEST_UNIT} characters")
        if self._tell is not None:
            whole = None if total is None else int(total)
            self._tell({"progress": {"current": int(current), "total": whole, "unit": unit}})

    def __repr__(self) -> str:
        return f"Application({self.name!r})"
