"""What was found, as text for a terminal and as a page for people: docs/performance.md with its charts."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from benchmarks import machine
from benchmarks.charts import draw
from benchmarks.findings import Findings, Table, Target

_INTRODUCTION = """\
# Performance

What the orchestrator does in a second and what that costs, beside what was aimed at and what other libraries need for
the same work. This page and its charts are written by `make bench` (`python -m benchmarks --report
docs/performance.md`); do not edit them by hand.

Everything shares one machine and its loopback: the server, the app that it calls, the database, and whoever launches.
Servers have their default settings: 100 calls in flight. Both databases are as durable as they come: each commit is on
the disk (`synchronous=FULL`, `fsync=on`) before anything is built on it. PostgreSQL begins as one that has been in use:
the files of its log are there already. The app is a Python process that takes some 15 us of CPU for a step; unless it
is said otherwise, a step carries about 1 KB of state there and back, signed. Times are taken where a call arrives, in
the app; CPU is what the kernel has counted for the processes. What is compared was measured in turns, so that a busy
machine is unfair to all alike. No target has been moved after the measurement."""

_AGAIN = """\
## How to reproduce it

    make bench                                    # all of it, with the other libraries; about an hour
    python -m benchmarks --quick                  # proves that every part works; its figures mean nothing
    python -m benchmarks --only steps,burst       # some parts
    python -m benchmarks.burst --help             # one part, in sizes of your own

Not on this page: `python -m benchmarks.caller` compares HTTP clients, `python -m benchmarks.wakeups` measures the way
of a launch from one node to another, `python -m benchmarks.scale_simulation` goes [beyond one machine](scale.md)."""


def as_text(findings: Findings) -> str:
    """One part for a terminal."""
    said = [findings.method] if findings.has_failed else []
    tables = [f"{table.title}\n{text_of(table)}" if table.title else text_of(table) for table in findings.tables]
    targets = [text_of(_targets(findings.targets))] if findings.targets else []
    return "\n\n".join([f"== {findings.title}", *said, *tables, *targets, *findings.notes])


def text_of(table: Table) -> str:
    """A table with columns of equal widths."""
    lines = [table.head, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = ["<" if words else ">" for words in _are_words(table)]
    forms = list(zip(sides, widths, strict=True))
    return "\n".join(
        "  ".join(f"{cell:{side}{width}}" for cell, (side, width) in zip(line, forms, strict=True)).rstrip()
        for line in lines
    )


def _are_words(table: Table) -> list[bool]:
    """Of each column, whether it has words, which begin at the left, and not numbers."""
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.head)
    numbers = [any(cell[:1].isdigit() or cell[:1] in "<>" for cell in column if cell) for column in columns]
    return [index == 0 or not has_numbers for index, has_numbers in enumerate(numbers)]


def write(path: Path, parts: Sequence[Findings], rounds: int, *, is_quick: bool) -> None:
    """Write the page, and its charts into the directory `images` beside it, in place of those that are there."""
    images = path.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    for old in images.glob("performance-*.svg"):
        old.unlink()
    for part in parts:
        for chart in part.charts:
            (images / f"performance-{chart.name}.svg").write_text(draw(chart))
    path.write_text(page(parts, rounds, is_quick=is_quick))


def page(parts: Sequence[Findings], rounds: int, *, is_quick: bool) -> str:
    """The page, in Markdown."""
    warning = ["**Measured in tiny sizes, to see that it works: the figures mean nothing.**"] if is_quick else []
    sections = [_section(part) for part in parts]
    return "\n\n".join([_INTRODUCTION, *warning, _machine(rounds), _all_targets(parts), *sections, _AGAIN]) + "\n"


def _machine(rounds: int) -> str:
    facts = machine.facts() | {"rounds": str(rounds), "measured": date.today().isoformat()}  # noqa: DTZ011
    return "## The machine\n\n" + _markdown(Table(("", ""), tuple(facts.items())))


def _all_targets(parts: Sequence[Findings]) -> str:
    targets = [target for part in parts for target in part.targets]
    missed = sum(target.is_met is False for target in targets)
    unknown = sum(target.is_met is None for target in targets)
    said = f"Of {len(targets)} targets, {missed} were not met" + (f", {unknown} not measured." if unknown else ".")
    return f"## Targets\n\n{said}\n\n" + _markdown(_targets(targets))


def _targets(targets: Sequence[Target]) -> Table:
    rows = tuple((target.what, target.wanted, target.measured, target.verdict) for target in targets)
    return Table(("target", "wanted", "measured", "verdict"), rows)


def _section(part: Findings) -> str:
    tables = [f"{table.title}\n\n{_markdown(table)}".lstrip() for table in part.tables]
    charts = [f"![{chart.title}](images/performance-{chart.name}.svg)" for chart in part.charts]
    return "\n\n".join([f"## {part.title}", part.method, *tables, *charts, *part.notes])


def _markdown(table: Table) -> str:
    sides = ["---" if words else "---:" for words in _are_words(table)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (table.head, sides, *table.rows))
