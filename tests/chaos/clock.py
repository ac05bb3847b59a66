"""The clock of fault windows: seconds that the runner shares with every witness on this machine."""

import time


def now() -> float:
    return time.monotonic()
