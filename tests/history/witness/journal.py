"""A witness's log: each line reaches the file in one write before anything else is done about what it says."""

import json
import os
import time
from pathlib import Path
from typing import Any


class Journal:
    """Appends lines to a file. `fsync`: each is on the disk before `write` returns, for power cuts of the machine."""

    def __init__(self, path: Path, *, fsync: bool = False) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._fsync = fsync

    def write(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        if self._fsync:
            os.fdatasync(self._file)

    def close(self) -> None:
        os.close(self._file)


def clock() -> float:
    """Seconds that all witnesses of a machine share."""
    return time.monotonic()
