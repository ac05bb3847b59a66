"""What kind of machine this is, in words that say nothing about whose it is."""

import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from tests.support.postgres import installation


def facts() -> dict[str, str]:
    """Cores, memory, and versions."""
    return {
        "processor": f"{os.cpu_count()} cores, {_processor()}",
        "memory": f"{_memory_gb():.0f} GB",
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}, {platform.machine()}",
        "Python": f"{platform.python_version()} ({platform.python_implementation()}), uvloop {version('uvloop')}",
        "SQLite": sqlite3.sqlite_version,
        "PostgreSQL": _postgresql(),
    }


def _processor() -> str:
    return _found("model name", _lines("/proc/cpuinfo")) or platform.machine()


def _memory_gb() -> float:
    return int((_found("MemTotal", _lines("/proc/meminfo")) or "0").split()[0]) * 1024 / 1e9


def _found(name: str, lines: Iterable[str]) -> str | None:
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _postgresql() -> str:
    try:
        program = installation() / "bin" / "postgres"
        said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    except (RuntimeError, OSError, subprocess.CalledProcessError):
        return "none"
    found = re.search(r"\d+(\.\d+)*", said)
    return found[0] if found else said.strip()
