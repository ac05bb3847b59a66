"""What a part of the benchmark has found: tables, charts, and targets beside what was measured."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text below a head, all of the same length; the first column is words."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines of (size, cost); `name` becomes a part of the file's name, both axes say their unit."""

    name: str
    title: str
    x_axis: str
    y_axis: str
    lines: Mapping[str, Points]


@dataclass(frozen=True, slots=True)
class Target:
    """What was aimed at, beside what was measured; `is_met` is None when it was not measured."""

    what: str
    wanted: str
    measured: str
    is_met: bool | None

    @property
    def verdict(self) -> str:
        return "not measured" if self.is_met is None else "met" if self.is_met else "**not met**"


@dataclass(frozen=True, slots=True)
class Findings:
    """One part: `method` says how and in which units it was measured, `notes` what went otherwise."""

    title: str
    method: str
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    targets: tuple[Target, ...] = ()
    notes: tuple[str, ...] = ()
    has_failed: bool = False


def at_least(what: str, measured: float | None, bound: float, unit: str = "") -> Target:
    """A target that is met by as much or more."""
    return _target(what, f">= {number(bound)}{unit}", measured, unit, is_met=measured is not None and measured >= bound)


def at_most(what: str, measured: float | None, bound: float, unit: str = "") -> Target:
    """A target that is met by as much or less."""
    return _target(what, f"<= {number(bound)}{unit}", measured, unit, is_met=measured is not None and measured <= bound)


def _target(what: str, wanted: str, measured: float | None, unit: str, *, is_met: bool) -> Target:
    if measured is None:
        return Target(what, wanted, "-", None)
    return Target(what, wanted, f"{number(measured)}{unit}", is_met)


def number(value: float | None) -> str:
    """A number for people: three digits or more, and no more after the point than that takes."""
    if value is None or math.isnan(value):
        return "-"
    size = abs(value)
    digits = 0 if size >= 100 or float(value).is_integer() else 1 if size >= 10 else 2 if size >= 0.1 else 3
    return f"{value:,.{digits}f}"


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` (0 to 1) of all are below; NaN of nothing."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else math.nan


def median(values: Iterable[float | None]) -> float | None:
    """The median of those that are known; None when none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def ratio(over: float | None, under: float | None) -> float | None:
    """How many times `under` goes into `over`; None when that cannot be said."""
    return over / under if over is not None and under else None
