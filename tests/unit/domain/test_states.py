"""The life cycle's tables, and the drawing of them in docs/architecture.md."""

import re
from collections.abc import Mapping
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import TypeVar

import pytest

from orchestrator.domain.errors import IllegalMove
from orchestrator.domain.states import (
    ENDED_EXECUTION,
    ENDED_WORKER,
    EXECUTION_MOVES,
    WORKER_MOVES,
    ExecutionStatus,
    WorkerStatus,
    check_execution_move,
    check_worker_move,
)

ARCHITECTURE = Path(__file__).parents[3] / "docs" / "architecture.md"
Status = TypeVar("Status", bound=StrEnum)
ARROW = re.compile(r"^\s*(\S+) --> (\S+?)\s*(?::.*)?$")

EXECUTION_LINES = """
    pending: running aborted
    running: succeeded failed aborted
    succeeded:
    failed: pending
    aborted: pending
"""
WORKER_LINES = """
    ready: calling failed aborted
    calling: ready awaiting waiting done failed aborted
    awaiting: ready done failed aborted
    waiting: ready failed aborted
    done: ready failed
    failed: ready waiting done
    aborted: ready waiting
"""


def moves(lines: str) -> set[tuple[str, str]]:
    table = dict(line.strip().split(":") for line in lines.strip().splitlines())
    return {(from_, to) for from_, row in table.items() for to in row.split()}


def pairs(table: Mapping[Status, frozenset[Status]]) -> set[tuple[str, str]]:
    return {(from_.value, to.value) for from_, row in table.items() for to in row}


@pytest.mark.parametrize(("from_", "to"), list(product(ExecutionStatus, repeat=2)))
def test_every_move_of_an_execution(from_: ExecutionStatus, to: ExecutionStatus) -> None:
    if (from_.value, to.value) in moves(EXECUTION_LINES):
        assert check_execution_move(from_, to) is to
    else:
        with pytest.raises(IllegalMove, match=f"an execution cannot go from {from_} to {to}"):
            check_execution_move(from_, to)


@pytest.mark.parametrize(("from_", "to"), list(product(WorkerStatus, repeat=2)))
def test_every_move_of_a_worker(from_: WorkerStatus, to: WorkerStatus) -> None:
    if (from_.value, to.value) in moves(WORKER_LINES):
        assert check_worker_move(from_, to) is to
    else:
        with pytest.raises(IllegalMove, match=f"a worker cannot go from {from_} to {to}"):
            check_worker_move(from_, to)


def test_the_tables_know_every_status() -> None:
    assert set(EXECUTION_MOVES) == set(ExecutionStatus)
    assert set(WORKER_MOVES) == set(WorkerStatus)


def test_only_a_retry_leads_out_of_an_end() -> None:
    assert {to for from_ in ENDED_EXECUTION for to in EXECUTION_MOVES[from_]} == {ExecutionStatus.PENDING}
    assert {status for status in WorkerStatus if status not in ENDED_WORKER} == {
        WorkerStatus.READY,
        WorkerStatus.CALLING,
        WorkerStatus.AWAITING,
        WorkerStatus.WAITING,
    }


def drawn(heading: str) -> tuple[set[tuple[str, str]], set[str], set[str]]:
    """The arrows of the diagram under a heading, and the states that it begins and ends with."""
    section = ARCHITECTURE.read_text(encoding="utf-8").split(f"\n### {heading}\n")[1]
    diagram = section.split("```mermaid\nstateDiagram-v2\n")[1].split("```")[0]
    arrows = [found.groups() for line in diagram.splitlines() if (found := ARROW.match(line))]
    assert len(arrows) == diagram.count("-->"), "an arrow that this test cannot read"
    assert len(arrows) == len(set(arrows)), "an arrow that is drawn twice"
    between = {(from_, to) for from_, to in arrows if "[*]" not in (from_, to)}
    return (
        between,
        {to for from_, to in arrows if from_ == "[*]"},
        {from_ for from_, to in arrows if to == "[*]"},
    )


def test_the_drawing_of_an_execution_is_its_table() -> None:
    between, first, last = drawn("An execution")
    assert between == pairs(EXECUTION_MOVES)
    assert first == {ExecutionStatus.PENDING}
    assert last == ENDED_EXECUTION


def test_the_drawing_of_a_worker_is_its_table() -> None:
    between, first, last = drawn("A worker")
    assert between == pairs(WORKER_MOVES)
    assert first == {WorkerStatus.READY}
    assert last == ENDED_WORKER
