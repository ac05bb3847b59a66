"""Durations, given as a timedelta or as a number of seconds."""

import math
from datetime import timedelta
from typing import TypeAlias

Duration: TypeAlias = timedelta | float


def in_seconds(duration: Duration) -> float:
    """The duration in seconds; raises ValueError where it is negative or not finite."""
    secs = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if not math.isfinite(secs) or secs < 0:
        raise ValueError(f"a duration is 0 seconds or more, not {duration}")
    return secs
