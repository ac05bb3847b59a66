"""The hot statements on apps: who is due, what an app's limits allow, the lock of its state."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from orchestrator.store.dialect import Dialect
from orchestrator.store.reads import Read
from orchestrator.store.transaction import Transaction

_DUE = """
SELECT apps.pk, apps.max_concurrent_calls, apps.unanswered_calls, apps.rate_calls, apps.rate_per_secs, apps.rate_recent,
       (SELECT count(*) FROM workers WHERE workers.app_pk = apps.pk AND status = 'calling' AND pull_task_pk IS NULL),
       (SELECT min(due_at) FROM workers
         WHERE workers.app_pk = apps.pk AND status = 'ready' AND NOT held AND pull_task_pk IS NULL
           AND due_at IS NOT NULL)
  FROM apps WHERE apps.status = 'active' AND apps.deleted_at IS NULL ORDER BY apps.pk"""


def _first(app: str, due: str, most: str) -> str:
    """The workers of an app that have been due for longest, or will be first."""
    return f"""
SELECT execution_pk, worker_id, token, due_at FROM workers
 WHERE app_pk = {app} AND status = 'ready' AND NOT held AND pull_task_pk IS NULL
   AND due_at IS NOT NULL AND due_at {due}
 ORDER BY due_at LIMIT {most}"""  # noqa: S608 - texts of ours


_WAITING = _first(":app_pk", "<= :until", ":places")
_NEXT = _first(":app_pk", "> :until", "1")
# One round trip for all apps; SQLite has no LATERAL, and its round trips cost nothing.
_WAITING_OF_ALL = f"""
SELECT wanted.app_pk, w.execution_pk, w.worker_id, w.token, w.due_at
  FROM unnest(:apps::bigint[], :places::int[], :untils::bigint[]) AS wanted (app_pk, places, until)
 CROSS JOIN LATERAL (
       ({_first("wanted.app_pk", "<= wanted.until", "wanted.places")})
       UNION ALL
       ({_first("wanted.app_pk", "> wanted.until", "1")})) AS w"""  # noqa: S608 - texts of ours

_LOCK = "SELECT pk FROM apps WHERE pk IN :pks ORDER BY pk FOR NO KEY UPDATE"
_LOCK_OR_SKIP = f"{_LOCK} SKIP LOCKED"
# Who deletes an app keeps everybody out who begins something for it; those do not keep out each other, nor claims.
_KEEP = "SELECT 1 FROM apps WHERE pk = :pk AND deleted_at IS NULL FOR KEY SHARE"
_LOCK_TO_DELETE = "SELECT 1 FROM apps WHERE pk = :pk AND deleted_at IS NULL FOR UPDATE"

_ACTIVE = """
SELECT apps.pk, apps.max_concurrent_calls, apps.unanswered_calls, apps.rate_calls, apps.rate_per_secs, apps.rate_recent,
       (SELECT count(*) FROM workers WHERE workers.app_pk = apps.pk AND status = 'calling' AND pull_task_pk IS NULL)
  FROM apps WHERE apps.pk IN :pks AND apps.status = 'active' AND apps.deleted_at IS NULL"""

_FACTS = """
SELECT apps.pk, apps.workspace_id, apps.id, apps.status, apps.webhook_endpoint, apps.secret_encrypted,
       apps.verify_tls, apps.rate_calls IS NOT NULL, apps.unanswered_calls, app_states.state
  FROM apps JOIN app_states ON app_states.app_pk = apps.pk WHERE apps.pk IN :pks"""

_LOCK_STATES = "SELECT app_pk FROM app_states WHERE app_pk IN :pks ORDER BY app_pk FOR NO KEY UPDATE"
_SET_STATE = "UPDATE app_states SET state = :state, version = version + 1 WHERE app_pk = :app_pk"
_SET_UNANSWERED = "UPDATE apps SET unanswered_calls = :unanswered_calls WHERE pk = :pk"
_SET_RATE = "UPDATE apps SET rate_recent = :recent WHERE pk = :pk"
_STOP = "UPDATE apps SET status = 'stopped', status_reason = :reason, updated_at = :now WHERE pk = :pk"


@dataclass(frozen=True, slots=True)
class AppStanding:
    """How an app stands to its limits: `calling` calls are in flight; at most `rate_calls` in `rate_per_secs` seconds.

    `rate_recent` is JSON: [[end of a slot in microseconds, calls that began in it], ...].
    """

    pk: int
    max_concurrent_calls: int
    unanswered_calls: int
    rate_calls: int | None
    rate_per_secs: float | None
    rate_recent: str | None
    calling: int


@dataclass(frozen=True, slots=True)
class DueApp:
    """An active app; `first_due_at` (microseconds) is when its first worker is due, None if none waits."""

    standing: AppStanding
    first_due_at: int | None

    @property
    def pk(self) -> int:
        return self.standing.pk


class Wanted(NamedTuple):
    """How many workers of an app are looked for at most, and until when (microseconds) they must be due."""

    app_pk: int
    places: int
    until: int


class Candidate(NamedTuple):
    """A worker that may be claimed, as it was read without a lock."""

    app_pk: int
    execution_pk: int
    worker_id: int
    token: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Workers that may be claimed, and by app when the first is due (microseconds) that is due later."""

    candidates: list[Candidate]
    later: dict[int, int]


@dataclass(frozen=True, slots=True)
class AppFacts:
    """What a call needs to know of its app; the secret is still encrypted, `state` is JSON text."""

    pk: int
    workspace_id: str
    id: str
    status: str
    webhook_endpoint: str | None
    secret_encrypted: str
    verify_tls: bool | None
    is_rate_limited: bool
    unanswered_calls: int
    state: str


def due(*, is_timed: bool = False) -> Read:
    """Every active app with the time of its first due worker, as `due_of` tells; unlocked, so a heuristic."""
    return Read(_DUE, {}, is_timed=is_timed)


def due_of(read: Read) -> list[DueApp]:
    return [DueApp(AppStanding(*row[:7]), row[7]) for row in read.rows]


def waiting(tx: Transaction, wanted: Sequence[Wanted]) -> Waiting:
    """The workers that are due by then, those that wait longest, for each app as many as it has places."""
    if not wanted:
        return Waiting([], {})
    if tx.dialect is Dialect.SQLITE:
        every = ((one.app_pk, tx.rows(sql, **one._asdict())) for one in wanted for sql in (_WAITING, _NEXT))
        rows: Iterable[Sequence[Any]] = [(app, *row) for app, found in every for row in found]
    else:
        apps, places, untils = zip(*wanted, strict=True)
        read = Read(_WAITING_OF_ALL, {"apps": apps, "places": places, "untils": untils})
        tx.read(read)
        rows = read.rows
    until = {one.app_pk: one.until for one in wanted}
    return Waiting(
        [Candidate(*row[:4]) for row in rows if row[4] <= until[row[0]]],
        {row[0]: row[4] for row in rows if row[4] > until[row[0]]},
    )


@dataclass(frozen=True, slots=True)
class ActiveApps:
    """Two reads: the apps' rows are locked, and then it is read how the active ones stand.

    Read by the lock's own statement, that would be stale. `skip_locked` leaves out those that are locked elsewhere.
    """

    lock: Read
    active: Read

    @classmethod
    def of(cls, pks: Iterable[int], *, skip_locked: bool = False) -> "ActiveApps":
        wanted = {"pks": sorted(pks)}
        return cls(Read(_LOCK_OR_SKIP if skip_locked else _LOCK, wanted), Read(_ACTIVE, wanted))

    @property
    def reads(self) -> tuple[Read, Read]:
        return self.lock, self.active

    def standings(self) -> dict[int, AppStanding]:
        """Of the apps that are locked now and active, once both were read."""
        locked = {pk for (pk,) in self.lock.rows}
        return {row[0]: AppStanding(*row) for row in self.active.rows if row[0] in locked}


def keep(tx: Transaction, pk: int) -> bool:
    """Keep the app from being deleted until the commit; False if it has been."""
    return tx.row(_KEEP, pk=pk) is not None


def lock_to_delete(tx: Transaction, pk: int) -> bool:
    """Wait for whoever keeps the app, and let nobody else, until the commit; False if it is deleted already."""
    return tx.row(_LOCK_TO_DELETE, pk=pk) is not None


def facts(pks: Iterable[int]) -> Read:
    """What a call needs to know of the apps, as `facts_of` tells."""
    return Read(_FACTS, {"pks": sorted(pks)}, at_once=True)


def facts_of(read: Read) -> dict[int, AppFacts]:
    return {row[0]: _facts(row) for row in read.rows}


def lock_states(pks: Iterable[int]) -> Read:
    """Lock the apps' states: whoever mutates one reads it afterwards."""
    return Read(_LOCK_STATES, {"pks": sorted(pks)})


def set_state(tx: Transaction, app_pk: int, state: str) -> None:
    tx.run(_SET_STATE, app_pk=app_pk, state=state)


def set_unanswered(tx: Transaction, pk: int, unanswered_calls: int) -> None:
    tx.run(_SET_UNANSWERED, pk=pk, unanswered_calls=unanswered_calls)


def set_rate(tx: Transaction, pk: int, recent: str) -> None:
    tx.run(_SET_RATE, pk=pk, recent=recent)


def stop(tx: Transaction, pk: int, reason: str, now: int) -> None:
    tx.run(_STOP, pk=pk, reason=reason, now=now)


def _facts(row: Sequence[Any]) -> AppFacts:
    pk, workspace_id, id_, status, endpoint, secret, verify_tls, is_rate_limited, unanswered_calls, state = row
    return AppFacts(
        pk=pk,
        workspace_id=workspace_id,
        id=id_,
        status=status,
        webhook_endpoint=endpoint,
        secret_encrypted=secret,
        verify_tls=None if verify_tls is None else bool(verify_tls),
        is_rate_limited=bool(is_rate_limited),
        unanswered_calls=unanswered_calls,
        state=state,
    )
