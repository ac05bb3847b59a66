"""Writes what a chaos run has shown as a page that people read: docs/reliability.md."""

import os
import platform
import sqlite3
import statistics
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.chaos.databases import KINDS
from tests.chaos.failpoints import POINTS
from tests.chaos.outcome import Outcome
from tests.simulation.coverage import EXPECTED
from tests.support.postgres import installation

_DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}

_INTRODUCTION = """\
# Reliability under real faults

What the [promises](architecture.md) are worth when processes are killed, databases vanish and disks fill up: real
servers, real databases, real signals. This page is written by `make chaos` (`python -m tests.chaos --report
docs/reliability.md`); do not edit it by hand.

How a run is decided: an app, a collector and a client log all that they see; when the faults have ended, everything
must come to its end, and [an independent checker](../tests/history/__init__.py), which shares no code with the
product, compares these logs with the final database. It decides, among others, that every step was applied exactly
once and in order, that a step's calls all carry one key, that app state is what replaying the applied answers gives,
and that the collector has exactly the items of applied steps. A run in which less than 90 % of the operations outside
of fault windows worked is void, and counts as bad."""

_READING = """\
## How to read this

- **Calls lost** are claims whose process was gone, or that was silent for too long: each is recorded, and the step
  was called again with the same key. **Fenced** answers came when another call of the step had the claim. An **answer
  not used** reached a process that did not live to apply it: the app saw the step again, with the same key.
- **Operations** are calls of the API, which worked if the client learnt their outcome, and calls of the app, which
  worked if the answer was applied. Those that touch a fault window do not count.
- Times are of a machine that did all this at once, and that other work may have shared: they show that nothing waits
  for minutes, and are no benchmark.
- A short lease (6 to 7 s) and a short node timeout (1 s) let more happen in a run; the defaults are 30 s and 10 s.

## How to reproduce it

    make chaos                                          # all of it; an hour or two on two quiet cores
    python -m tests.chaos --short                       # each scenario once; this is part of `make test` too
    python -m tests.chaos --seed 7 --only storm,kill    # other dice, some scenarios

The seed decides what is killed when, in which order disasters come, and what the app answers. Which thread runs first
is the machine's affair: a seed repeats the run's plan, not its every instant. The files of a bad run are kept, and
its path printed; `python -m tests.history` checks them again."""


def write(path: Path, outcomes: Sequence[Outcome], seed: int, *, is_short: bool) -> None:
    """Write the report of these outcomes."""
    parts = [
        _INTRODUCTION,
        _summary(outcomes, seed, is_short=is_short),
        _kills([outcome for outcome in outcomes if outcome.scenario == "kill"]),
        *(_storm(outcome) for outcome in outcomes if outcome.scenario == "storm" and outcome.faults),
        *(_slots(outcome) for outcome in outcomes if outcome.scenario == "slots"),
        _disks([outcome for outcome in outcomes if outcome.scenario == "disk"]),
        _simulated({outcome.scenario: outcome for outcome in outcomes}),
        _times(outcomes),
        _findings(outcomes),
        _READING,
    ]
    path.write_text("\n\n".join(part for part in parts if part) + "\n")


def _summary(outcomes: Sequence[Outcome], seed: int, *, is_short: bool) -> str:
    steps = sum(outcome.counts["steps"] for outcome in outcomes)
    worked, operations = sum(one.worked for one in outcomes), sum(one.operations for one in outcomes)
    bad = [outcome for outcome in outcomes if not outcome.is_good]
    verdict = f"{len(bad)} of {len(outcomes)} runs are bad, see below" if bad else "in no run is any rule broken"
    rows = [
        ("verdict", f"**{verdict}**"),
        ("form", f"{'short' if is_short else 'long'}, seed {seed}"),
        ("runs", f"{len(outcomes)}, in {sum(one.took_secs for one in outcomes) / 60:,.0f} minutes of run time"),
        ("steps", f"{steps:,}, in {sum(one.counts['executions'] for one in outcomes):,} executions"),
        ("calls of the app", f"{sum(one.counts['requests'] for one in outcomes):,}"),
        ("items imported", f"{sum(one.counts['items'] for one in outcomes):,}"),
        ("operations outside of fault windows", f"{operations:,}, of which {_share(worked, operations)} worked"),
        ("machine", f"{os.cpu_count()} cores, {platform.system()} on {platform.machine()}"),
        ("versions", f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {_postgresql()}"),
    ]
    return _table(("", ""), rows)


def _kills(outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return ""
    by_database = {kind: [one for one in outcomes if one.database == kind] for kind in KINDS}
    kills = {kind: sum((one.faults for one in found), Counter()) for kind, found in by_database.items()}
    rows = [(point.says, *(f"{kills[kind][point.name]:,}" for kind in KINDS)) for point in POINTS.values()]
    rows.append(("**all**", *(f"**{kills[kind].total():,}**" for kind in KINDS)))
    names = ("steps", "requests", "lost", "fenced", "unused answers", "repeated", "items", "deliveries")
    shown = ("steps", "calls", "calls lost", "answers fenced", "answers not used", "steps called more than once")
    headings = (*shown, "items imported", "deliveries to the collector")
    counts = {kind: sum((one.counts for one in found), Counter()) for kind, found in by_database.items()}
    flight = [
        (says, *(f"{counts[kind][name]:,}" for kind in KINDS)) for says, name in zip(headings, names, strict=True)
    ]
    return "\n\n".join(
        [
            "## kill -9 at twelve points of a step",
            "One node; a history for each point and database. A launcher in the tests patches the point into the "
            "server's process, which kills itself when it comes there for the n-th time (the seed says which n), is "
            "started again, and so on. Each death is proved to have happened at its point.",
            _table(("killed", *_DATABASES.values()), rows),
            _table(("under way in these histories", *_DATABASES.values()), flight),
        ]
    )


def _storm(outcome: Outcome) -> str:
    rows = [(what, f"{count:,}") for what, count in sorted(outcome.faults.items())]
    counts, kills = outcome.counts, outcome.faults["kill -9 of a node"]
    rows.append(("backends terminated in those phases", f"{counts['terminated backends']:,}"))
    return "\n\n".join(
        [
            "## The storm: three nodes on one PostgreSQL",
            f"{counts['steps']:,} steps of {counts['executions']:,} executions "
            f"in {outcome.took_secs / 60:.0f} minutes; "
            f"a node was killed every {outcome.took_secs / max(kills, 1):.1f} s, and what else there is fell between. "
            f"{counts['requests']:,} calls, {counts['lost']:,} lost, {counts['fenced']:,} fenced, "
            f"{counts['unused answers']:,} answers not used. "
            f"{_share(outcome.worked, outcome.operations)} of {outcome.operations:,} operations outside of fault "
            f"windows worked; when the faults had ended, all was done within "
            f"{max(outcome.times.get('rest', [0])):.1f} s.",
            _table(("fault", "times"), rows),
            f"Nodes that were stopped past their lease lost {counts['taken over from a stopped node']:,} calls to the "
            "others while they stood still, and applied not one of the answers to them. Nodes that were asked to stop "
            "(SIGTERM) cut off no call and ended with 0. No node ended because of the database.",
        ]
    )


def _slots(outcome: Outcome) -> str:
    counts = outcome.counts
    return (
        f"## Schedules\n\n{counts['schedules']:,} schedules due at the same instant on three nodes, one of which was "
        f"killed when {counts['launched before the kill']:,} had been launched, and started again: each slot became "
        f"one execution, none two."
    )


def _disks(outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return ""
    rows = [
        (
            _DATABASES[outcome.database],
            f"{outcome.faults['disk full']}",
            f"{outcome.counts['the server had to be started again']}",
            f"{outcome.counts['PostgreSQL had to be started again']}",
            "left out: no right to mount a disk" if not outcome.faults else f"{outcome.counts['steps']:,}",
        )
        for outcome in outcomes
    ]
    heading = ("database", "times full", "server restarts needed", "PostgreSQL restarts needed", "steps")
    return (
        "## Disk full\n\nThe database's disk is filled to the last byte under load until launches are refused, and has "
        "room again a moment later. SQLite's `integrity_check` says ok.\n\n" + _table(heading, rows)
    )


def _simulated(by_scenario: Mapping[str, Outcome]) -> str:
    if not {"seeds", "bugs"} <= by_scenario.keys():
        return ""
    counts, tries = by_scenario["seeds"].counts, by_scenario["bugs"].counts
    met = sorted((name, count) for name, count in counts.items() if name in EXPECTED)
    slowest = ", ".join(f"{name} ({count:,})" for name, count in tries.most_common(5))
    return "\n\n".join(
        [
            "## Simulated",
            f"{counts['seeds']:,} histories of the engine's own loops on one to four nodes in virtual time, over real "
            "SQLite, with faults between any two of its steps. What they met:",
            _table(("met", "times"), [(name, f"{count:,}") for name, count in met]),
            f"The checks are not blind: each of {len(tries)} planted bugs was found, half of them within "
            f"{statistics.median(tries.values()):,.0f} histories. The longest searches: {slowest}.",
        ]
    )


def _times(outcomes: Sequence[Outcome]) -> str:
    found: dict[tuple[str, str], list[float]] = {}
    for outcome in outcomes:
        for name, times in outcome.times.items():
            if name != "rest":
                found.setdefault((name, outcome.database), []).extend(times)
    rows = [
        (name, _DATABASES[database], f"{len(times):,}", *(f"{secs:.2f} s" for secs in _quantiles(times)))
        for (name, database), times in sorted(found.items())
        if times
    ]
    heading = ("from … to …", "database", "measured", "median", "95 %", "longest")
    return "## How long it takes to go on\n\n" + _table(heading, rows) if rows else ""


def _findings(outcomes: Sequence[Outcome]) -> str:
    bad = [outcome for outcome in outcomes if not outcome.is_good]
    if not bad:
        return f"## Findings\n\nNone, in {len(outcomes)} runs."
    told = "\n\n".join(f"### {one.seed}, {one.database}\n\n```\n{one.failure}{one.findings}\n```" for one in bad)
    return f"## Findings\n\n{told}"


def _quantiles(times: Sequence[float]) -> tuple[float, float, float]:
    ordered = sorted(times)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))], ordered[-1]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "nothing"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _postgresql() -> str:
    told = subprocess.run(
        [installation() / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    return told.stdout.replace("postgres (PostgreSQL)", "PostgreSQL").strip()
