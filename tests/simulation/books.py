"""What the simulation knows by itself: what was sent and answered, and how the rows stand by the committed changes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.store import Change, Row

Lane = tuple[int, int]
"""An execution's key and a worker's id."""


class Violation(AssertionError):
    """The product has broken a promise."""


@dataclass(slots=True, eq=False)
class Post:
    """A call that the app has received, or that was never sent. `seen`: the node was told how it ended, and when."""

    number: int
    at: int
    node: str
    key: str
    lane: Lane
    token: int
    step: int
    kind: str
    answer: dict[str, Any] | None = None
    retry_after_secs: float | None = None
    seen: str | None = None
    seen_at: int = 0


@dataclass(slots=True)
class Model:
    """A worker as the applied answers have made it. `rests`: ready, waiting or done, by the last applied answer."""

    state: Any
    step: int = 0
    retries: int = 0
    not_before: int = 0
    rests: str = "ready"


@dataclass(frozen=True, slots=True)
class Claim:
    """A committed claim: whose it is, in which attempt, from when until when, and what the call must be told."""

    node: str
    attempt: int
    begins: int
    until: int
    state: Any
    retries: int
    app_state: Any
    released: bool
    others: dict[int, tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction that was committed: when, by whom, by which use case."""

    at: int
    node: str
    label: str
    changes: list[Change]
    _by_table: dict[str, list[Change]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for change in self.changes:
            self._by_table.setdefault(change.table, []).append(change)

    def __str__(self) -> str:
        rows = "".join(f"\n    {change}" for change in self.changes)
        return f"{self.node} commits {self.label}:{rows}"

    def of(self, table: str) -> list[Change]:
        return self._by_table.get(table, [])


@dataclass(slots=True)
class Books:
    """Everything that the checks look things up in. The mirrors hold rows as they were before the commit in hand."""

    tasks: dict[int, str]
    apps: dict[int, str]
    counters: Counter[str] = field(default_factory=Counter)
    executions: dict[int, Row] = field(default_factory=dict)
    workers: dict[Lane, Row] = field(default_factory=dict)
    lanes: dict[int, list[Lane]] = field(default_factory=dict)
    batches: dict[int, Row] = field(default_factory=dict)
    waiting: dict[Lane, set[int]] = field(default_factory=dict)
    """The undelivered batches of each worker."""
    app_status: dict[int, str] = field(default_factory=dict)
    occurrences: dict[tuple[int, int], Row] = field(default_factory=dict)
    app_states: dict[int, Any] = field(default_factory=dict)
    model: dict[Lane, Model] = field(default_factory=dict)
    outcomes: dict[tuple[int, int, int], str] = field(default_factory=dict)
    posts: dict[tuple[int, int, int], Post] = field(default_factory=dict)
    posts_of_key: dict[str, list[Post]] = field(default_factory=dict)
    claims: dict[tuple[int, int, int], Claim] = field(default_factory=dict)
    released: set[tuple[int, int, int]] = field(default_factory=set)
    """Claims that were given back without a call."""
    key_of_step: dict[tuple[int, int, int], str] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    accepted: dict[str, list[Any]] = field(default_factory=dict)
    """The collector's content: batch key to items, in the order of arrival."""
    turned_down: set[str] = field(default_factory=set)
    pk_of_uid: dict[str, int] = field(default_factory=dict)
    applied: list[Post] = field(default_factory=list)

    def take_in(self, commit: Commit) -> None:
        """The commit has passed every check: it is the truth now."""
        for change in commit.changes:
            new = change.new
            match change.table:
                case "executions":
                    self.executions[new["pk"]] = new
                    self.pk_of_uid[new["uid"]] = new["pk"]
                case "workers":
                    self._take_in_worker((new["execution_pk"], new["worker_id"]), new)
                case "import_batches":
                    self._take_in_batch((new["execution_pk"], new["worker_id"]), new)
                case "apps":
                    self.app_status[new["pk"]] = new["status"]
                case "occurrences":
                    self.occurrences[new["task_pk"], new["slot_at"]] = new
                case "calls":
                    self.outcomes[new["execution_pk"], new["worker_id"], new["token"]] = new["outcome"]
                case _:
                    # States are kept by the check of the steps; of schedules only the moves matter.
                    continue

    def _take_in_worker(self, lane: Lane, row: Row) -> None:
        if lane not in self.workers:
            self.lanes[lane[0]] = sorted([*self.lanes.get(lane[0], ()), lane])
        self.workers[lane] = row

    def _take_in_batch(self, lane: Lane, row: Row) -> None:
        self.batches[row["pk"]] = row
        waiting = self.waiting.setdefault(lane, set())
        if row["status"] in ("pending", "refused"):
            waiting.add(row["pk"])
        else:
            waiting.discard(row["pk"])

    def task_of(self, pk: int) -> str:
        return self.tasks[self.executions[pk]["task_pk"]]

    def workers_of(self, pk: int) -> Iterator[Row]:
        return (self.workers[lane] for lane in self.lanes.get(pk, ()))

    def undelivered(self, lane: Lane) -> int:
        return len(self.waiting.get(lane, ()))


def require(condition: object, message: str) -> None:
    """Raises Violation unless the condition holds."""
    if not condition:
        raise Violation(message)
