"""What a check has found, and how it is shown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from orchestrator.cli.formats import clean
from orchestrator.cli.printing import Column, print_json, print_table, status

Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    status: Verdict
    detail: str


_COLUMNS = (
    Column("check", lambda row: clean(row.get("check"))),
    Column("result", lambda row: status(row.get("status"))),
    Column("detail", lambda row: clean(row.get("detail")), is_prose=True),
)


def is_ok(findings: Sequence[Finding]) -> bool:
    """Whether nothing has failed."""
    return all(finding.status != "failed" for finding in findings)


def report(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print the findings."""
    rows = [asdict(finding) for finding in findings]
    if as_json:
        print_json({"ok": is_ok(findings), "checks": rows})
    else:
        print_table(rows, _COLUMNS)
