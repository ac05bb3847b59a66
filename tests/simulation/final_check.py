"""What must hold when all faults have stopped and nothing is left to do.

The end of each execution is told once more from the log of applied answers alone, by plain dictionaries.
"""

from typing import Any

import orjson

from tests.simulation.app import COUNTERS
from tests.simulation.books import Books, require
from tests.simulation.life_check import ENDED
from tests.simulation.store import OBSERVED, Store


def is_quiet(books: Books) -> bool:
    """Whether every execution has ended, the outbox is empty and no claim is held."""
    return (
        all(row["status"] in ENDED for row in books.executions.values())
        and all(row["status"] in ("delivered", "discarded") for row in books.batches.values())
        and all(row["status"] != "calling" for row in books.workers.values())
    )


def unrest(books: Books) -> str:
    """What keeps the world from being quiet."""
    rows = [row for row in books.executions.values() if row["status"] not in ENDED]
    workers = [row for row in books.workers.values() if row["status"] == "calling"]
    batches = [row for row in books.batches.values() if row["status"] not in ("delivered", "discarded")]
    lanes = [row for row in books.workers.values() if row["execution_pk"] in {one["pk"] for one in rows}]
    return f"executions {rows}, workers {lanes}, calling {workers}, batches {batches}"


def check_end(books: Books, store: Store) -> None:
    """Raises Violation unless the database, the collector and the log of answers tell the same."""
    _check_rows(books, store)
    _check_collector(books)
    _check_app_states(books, store)
    _check_told(books, store)
    _check_outcomes(books)
    _check_slots(books)


def _check_rows(books: Books, store: Store) -> None:
    """A row that changed without being seen, or was deleted, would have escaped every other check."""
    mirrors: dict[str, list[dict[str, Any]]] = {
        "executions": list(books.executions.values()),
        "workers": list(books.workers.values()),
        "import_batches": list(books.batches.values()),
    }
    for table, rows in mirrors.items():
        columns = OBSERVED[table].split()
        names = ", ".join(columns)
        found = store.rows(f"SELECT {names} FROM {table}")
        expected = [tuple(row[column] for column in columns) for row in rows]
        require(sorted(found, key=repr) == sorted(expected, key=repr), f"the rows of {table} are not those committed")
    states = store.rows("SELECT execution_pk, worker_id, state FROM worker_states")
    for pk, worker_id, state in states:
        require(
            orjson.loads(state) == books.model[pk, worker_id].state, f"the state of worker {pk, worker_id}: {state}"
        )


def _check_collector(books: Books) -> None:
    """Each item of each applied answer is there once, those of a worker in their order."""
    discarded = {row["key"] for row in books.batches.values() if row["status"] == "discarded"}
    has_discarded = {
        (row["execution_pk"], row["worker_id"]) for row in books.batches.values() if row["key"] in discarded
    }
    collected: dict[tuple[int, int], list[Any]] = {}
    for key, items in books.accepted.items():
        _, uid, worker_id, _, _ = key.split("_")
        collected.setdefault((books.pk_of_uid[uid], int(worker_id)), []).extend(items)
    expected: dict[tuple[int, int], list[Any]] = {}
    for post in books.applied:
        items = (post.answer or {}).get("items_to_import", [])
        if items:
            expected.setdefault(post.lane, []).extend(items)
    for lane in collected.keys() | expected.keys():
        if lane in has_discarded:
            continue
        have, want = collected.get(lane, []), expected.get(lane, [])
        require(have == want, f"the collector has {len(have)} items of worker {lane}, or not in order: {want}")


def _check_app_states(books: Books, store: Store) -> None:
    for app_pk, state in store.rows("SELECT app_pk, state FROM app_states"):
        counted: dict[str, int] = {}
        for post in books.applied:
            if books.executions[post.lane[0]]["app_pk"] == app_pk:
                _count(post.answer or {}, counted)
        found = {key: value for key, value in orjson.loads(state).items() if key in COUNTERS}
        require(found == counted, f"the state of app {app_pk} is {found}; the applied increments sum up to {counted}")


def _count(answer: dict[str, Any], counted: dict[str, int]) -> None:
    for mutation in answer.get("app_state_mutations", ()):
        if mutation["operation"] == "increment":
            counted[mutation["key"]] = counted.get(mutation["key"], 0) + mutation["value"]


def _check_told(books: Books, store: Store) -> None:
    """The outputs, merged in the order of the commits, and the lines that apps have logged."""
    outputs: dict[int, dict[str, Any]] = {}
    lines = 0
    for post in books.applied:
        answer = post.answer or {}
        outputs.setdefault(post.lane[0], {}).update(answer.get("output", {}))
        lines += len(answer.get("logs", ()))
    for pk, output in store.rows("SELECT execution_pk, output FROM execution_details WHERE resumed_from IS NULL"):
        found = orjson.loads(output or "{}")
        require(found == outputs.get(pk, {}), f"the output of execution {pk} is {found}, answers say {outputs.get(pk)}")
    require(store.rows("SELECT count(*) FROM log_lines") == [(lines,)], f"not {lines} lines are logged")


def _check_outcomes(books: Books) -> None:
    for pk, execution in books.executions.items():
        rests = {worker_id: model.rests for (owner, worker_id), model in books.model.items() if owner == pk}
        is_complete = set(rests.values()) == {"done"}
        if execution["status"] == "succeeded":
            require(is_complete, f"execution {pk} succeeded, and the workers' last answers say {rests}")
        for worker in books.workers_of(pk):
            if worker["status"] == "failed":
                _check_failure(books, pk, worker)


def _check_failure(books: Books, pk: int, worker: dict[str, Any]) -> None:
    """Whatever a failed worker's last call was, it was one that can end a worker."""
    calls = [
        post for (owner, worker_id, _), post in books.posts.items() if (owner, worker_id) == (pk, worker["worker_id"])
    ]
    lost = [
        one for one, outcome in books.outcomes.items() if one[:2] == (pk, worker["worker_id"]) and outcome != "applied"
    ]
    refused = any(
        row["key"] in books.turned_down
        for row in books.batches.values()
        if (row["execution_pk"], row["worker_id"]) == (pk, worker["worker_id"])
    )
    answers = [post.answer or {} for post in calls]
    has_reason = bool(lost) or refused or any(answer.get("is_error") for answer in answers)
    require(has_reason, f"worker {pk}/{worker['worker_id']} has failed without a reason")


def _check_slots(books: Books) -> None:
    launched = [row["execution_pk"] for row in books.occurrences.values() if row["execution_pk"] is not None]
    require(len(launched) == len(set(launched)), "two slots are recorded with one execution")
    require(set(launched) <= books.executions.keys(), "a slot is recorded with an execution that does not exist")
