"""The way down: one deadline from the signal to the exit, shared out among what has to be done on the way."""

import asyncio
import os
import threading
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Self

import structlog

# However little time the operator gives: what was cut off is recorded, and connections are closed.
LEAST_SECS = 5.0
# Of the whole, for the calls in flight. By default these are 20 s, what one call may take in all.
CALLS_SHARE = 0.8


class Stage(Enum):
    """What is done one after the other; by its end so much of the time that the calls leave over has passed.

    Connections are closed a little before the end, so that the exit itself is within it.
    """

    CALLS = 0.0
    RECORDS = 0.3
    FAREWELL = 0.4
    WEB = 0.8
    CLOSING = 0.9


@dataclass(frozen=True, slots=True)
class WayDown:
    """The time that a node has from `began`, on the event loop's clock; what a stage leaves over, the next ones get."""

    began: float
    drain_secs: float

    @classmethod
    def begin(cls, drain_secs: float) -> Self:
        """The way down begins now; `drain_secs` is what the operator gives for all of it."""
        return cls(asyncio.get_running_loop().time(), drain_secs)

    @property
    def secs(self) -> float:
        """From the signal to the exit."""
        return max(self.drain_secs, LEAST_SECS)

    def left(self, stage: Stage) -> timedelta:
        """How long the stage may still take."""
        calls_secs = self.drain_secs * CALLS_SHARE
        end = self.began + calls_secs + (self.secs - calls_secs) * stage.value
        return timedelta(seconds=max(0.0, end - asyncio.get_running_loop().time()))


def exit_after(within: timedelta) -> None:
    """End the process then, whatever it is at: a thread that a database holds up cannot be cancelled.

    Nothing is lost: what was not recorded is found by others, or at the next start.
    """

    def end() -> None:
        structlog.get_logger("server").warning("stopped in the middle of something: its time was over")
        os._exit(1)

    timer = threading.Timer(within.total_seconds(), end)
    timer.daemon = True
    timer.start()
