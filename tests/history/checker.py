"""The whole checker: every rule over one history."""

from collections import Counter
from collections.abc import Iterable

from tests.history.findings import Finding
from tests.history.history import History
from tests.history.rules import RULES
from tests.history.rules.liveness import converged, unused_attempts
from tests.history.rules.schedules import schedules_go_on

MOST_SHOWN = 20


def check(history: History, *, is_at_rest: bool = False) -> list[Finding]:
    """What breaks a rule, in the order of the rules. `is_at_rest`: the run was given the time to finish everything."""
    found = [finding for rule in RULES.values() for finding in rule(history)]
    return [*found, *schedules_go_on(history), *converged(history)] if is_at_rest else found


def report(findings: Iterable[Finding]) -> str:
    """The findings as people read them: at most 20 of each rule, and how many more there are."""
    shown: Counter[str] = Counter()
    lines = []
    for finding in findings:
        shown[finding.rule] += 1
        if shown[finding.rule] <= MOST_SHOWN:
            lines.append(str(finding))
    lines += [f"{rule}: {count - MOST_SHOWN} more" for rule, count in shown.items() if count > MOST_SHOWN]
    return "\n".join(lines)


def summary(history: History) -> str:
    """What the history holds, so that nobody takes an empty one for a good one."""
    outcomes: Counter[str] = Counter(call.outcome for calls in history.lanes.values() for call in calls)
    statuses = Counter(execution.status for execution in history.dump.executions.values())
    requests = sum(len(talk.attempts) for talk in history.app.talks.values())
    items = sum(call.items for _, call in history.every_applied())
    unused = sum(1 for _ in unused_attempts(history))
    return "\n".join(
        [
            f"executions  {_listed(statuses)}",
            f"calls       {_listed(outcomes)}",
            f"app         {requests:,} requests for {len(history.app.talks):,} steps, {unused:,} answers not applied",
            f"imports     {items:,} items in {len(history.dump.batches):,} batches",
            f"clients     {_listed(Counter(call.outcome for call in history.clients.calls))}",
        ]
    )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "none"
