"""A part of the benchmark: what it measures, how much of it at length and for a try, and its command line.

The options of `python -m benchmarks.<part>` are the fields of its sizes, beside `--rounds` and `--quick`.
"""

import argparse
import gc
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from benchmarks.findings import Findings
from benchmarks.report import as_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class Part(Generic[S]):
    """`measure` takes the sizes and the number of rounds; `quick` is a size that takes seconds and proves nothing."""

    name: str
    measure: Callable[[S, int], Findings]
    full: S
    quick: S

    def run(self, rounds: int, *, is_quick: bool) -> Findings:
        """Measure at length, or quickly."""
        return self.measure(self.quick if is_quick else self.full, rounds)

    def command(self, documentation: str | None, arguments: Sequence[str] | None = None) -> None:
        """Measure what the command line asks for, and print it."""
        parser = argparse.ArgumentParser(
            description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )
        parser.add_argument("--rounds", type=int, default=1)
        parser.add_argument("--quick", action="store_true", help="sizes that take seconds and prove nothing")
        for name, default in _values(self.full).items():
            several = isinstance(default, tuple)
            kind = type(default[0]) if several and default else str if several else type(default)
            option = f"--{name.replace('_', '-')}"
            parser.add_argument(option, type=kind, nargs="*" if several else None, help=f"default: {default}")
        asked = vars(parser.parse_args(arguments))
        begin_measuring()
        sizes = _values(self.quick if asked["quick"] else self.full)
        for name in sizes:
            if asked[name] is not None:
                sizes[name] = tuple(asked[name]) if isinstance(sizes[name], tuple) else asked[name]
        print(as_text(self.measure(type(self.full)(**sizes), asked["rounds"])))


def begin_measuring() -> None:
    """From now on SIGTERM does as Ctrl-C does, so that whatever was started is ended too, and collections are short.

    A full one of what has been loaded would take a core from what is measured for a tenth of a second.
    """
    gc.freeze()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def tell(line: str) -> None:
    """Say how far it has come, beside what is printed at the end."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _values(sizes: "DataclassInstance") -> dict[str, Any]:
    return {one.name: getattr(sizes, one.name) for one in fields(sizes)}
