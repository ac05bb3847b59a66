"""Everything that is measured, in turn: `make bench`, or

    python -m benchmarks [--quick] [--only steps,burst] [--rounds 3] [--report docs/performance.md]

Loopback only. Each part prints what it has found, and at the end the report is written, if one is asked for, with its
charts beside it. A part can be run by itself, in sizes of its own: `python -m benchmarks.<part> --help`. Exits with 1
if a part has failed, never because of a figure, nor because a peer is missing.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

import httpx
import psycopg

from benchmarks import (
    burst,
    cold_start,
    due,
    fan_out,
    idle,
    imports,
    report,
    scale,
    sleepers,
    slow_app,
    small,
    steps,
)
from benchmarks.findings import Findings
from benchmarks.part import Part, begin_measuring, tell

MODULES = (steps, slow_app, due, sleepers, idle, burst, fan_out, small, imports, cold_start, scale)
PARTS: dict[str, Part[Any]] = {module.PART.name: module.PART for module in MODULES}
# What a process, a database or a machine can do to a part; the others are measured all the same.
TROUBLES = (AssertionError, RuntimeError, OSError, ArithmeticError, SubprocessError, httpx.HTTPError, psycopg.Error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, report; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: to see that it works")
    parser.add_argument("--only", help="parts, divided by commas: " + ", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--report", type=Path, help="the page to write")
    asked = parser.parse_args(arguments)
    names = asked.only.split(",") if asked.only else list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"no part is called {', '.join(unknown)}")
    begin_measuring()
    rounds = 1 if asked.quick else asked.rounds
    found = []
    for name in names:
        found.append(_measured(PARTS[name], rounds, is_quick=asked.quick))
        print(report.as_text(found[-1]) + "\n", flush=True)
    if asked.report:
        report.write(asked.report, found, rounds, is_quick=asked.quick)
        print(f"Written to {asked.report}")
    return int(any(one.has_failed for one in found))


def _measured(part: Part[Any], rounds: int, *, is_quick: bool) -> Findings:
    """What the part has found, or that it has failed."""
    began = time.monotonic()
    tell(f"== {part.name}")
    try:
        return part.run(rounds, is_quick=is_quick)
    except TROUBLES as trouble:
        traceback.print_exc()
        said = (str(trouble).splitlines() or [""])[-1]
        return Findings(part.name, f"**Not measured**: {type(trouble).__name__} {said[:200]}", has_failed=True)
    finally:
        tell(f"{part.name} took {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
