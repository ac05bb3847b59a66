"""How executions begin, end and stand beside each other, looked at after every commit that touches them."""

from tests.simulation.books import Books, Commit, require
from tests.simulation.manifests import POLICIES
from tests.simulation.store import Change, Row

ENDED = ("succeeded", "failed", "aborted")
_WORKER_ENDED = ("done", "failed", "aborted")
_MOVES: dict[str, tuple[str, ...]] = {
    # One that was retried or resumed may have nothing left to do, and ends in the commit in which it starts.
    "pending": ("running", *ENDED),
    "running": ENDED,
    "succeeded": (),
    "failed": (),
    "aborted": (),
}


class LifeCheck:
    """Raises Violation."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def check(self, commit: Commit) -> None:
        """Before the commit's rows are taken in."""
        for change in commit.of("executions"):
            if change.old is not None:
                self._moved(commit, change, change.old)

    def after(self, commit: Commit) -> None:
        """When the commit's rows are taken in."""
        touched = {change.new["pk"] for change in commit.of("executions")}
        touched |= {change.new["execution_pk"] for change in commit.of("workers")}
        for pk in sorted(touched):
            self._is_sound(pk)
        if commit.of("executions"):
            self._check_overlap()

    def _moved(self, commit: Commit, change: Change, old: Row) -> None:
        new = change.new
        what = f"execution {new['pk']} went from {old['status']} to {new['status']} by {commit.label}"
        is_retry = commit.label == "retry" and new["attempt"] == old["attempt"] + 1
        if is_retry:
            # It may end in the same commit: all that it waited for has come meanwhile.
            require(old["status"] in ("failed", "aborted"), what)
        else:
            require(new["status"] in (old["status"], *_MOVES[old["status"]]), what)
            require(new["attempt"] == old["attempt"], f"{what}, and began attempt {new['attempt']}")
        if new["status"] != old["status"]:
            self._books.counters[f"execution {new['status']}"] += 1
        if new["status"] == "aborted" != old["status"]:
            require(commit.label in ("abort", "launch", "launch_due", "promote", "retry", "resume"), what)

    def _is_sound(self, pk: int) -> None:
        execution = self._books.executions[pk]
        workers = list(self._books.workers_of(pk))
        statuses = {row["worker_id"]: row["status"] for row in workers}
        what = f"execution {pk} is {execution['status']} with workers {statuses}"
        is_open = [row for row in workers if row["status"] not in _WORKER_ENDED]
        require(execution["open_workers"] == len(is_open), f"{what}, and counts {execution['open_workers']} open ones")
        undelivered = sum(self._books.undelivered((pk, row["worker_id"])) for row in workers)
        for row in workers:
            lane = pk, row["worker_id"]
            counted = self._books.undelivered(lane)
            require(row["undelivered"] == counted, f"worker {lane}: {row['undelivered']} of {counted} undelivered")
            is_done = self._books.model[lane].rests == "done"
            require(row["status"] != "done" or is_done, f"worker {lane} is done, and its app has not said so")
        match execution["status"]:
            case "succeeded":
                require(set(statuses.values()) == {"done"}, what)
                require(undelivered == 0, f"{what}, and {undelivered} batches are not delivered")
            case "failed":
                has_reason = "failed" in statuses.values() or _is_stopped(execution["message"])
                require(not is_open and has_reason, what)
            case "aborted":
                require(not is_open, what)
            case "running" if execution["failing"]:
                require("calling" in statuses.values(), f"{what}, failing, and nothing is in flight")
            case "running":
                is_over = set(statuses.values()) == {"done"} and undelivered == 0
                require(not is_over, f"{what}, and nothing is left to do")
                require(is_open or undelivered, f"{what}, and nothing can go on")
            case _:
                # Retried, it may only have to wait for its turn: what its workers had done was delivered since.
                is_retried = execution["attempt"] > 1 and set(statuses.values()) == {"done"}
                require(execution["status"] == "pending" and (is_open or is_retried), what)

    def _check_overlap(self) -> None:
        groups: dict[tuple[int, str], list[Row]] = {}
        for row in self._books.executions.values():
            groups.setdefault((row["task_pk"], row["multiple_exec_key"]), []).append(row)
        for (task_pk, key), rows in groups.items():
            policy = POLICIES[self._books.tasks[task_pk]]
            if policy == "allow":
                continue
            running = [row["pk"] for row in rows if row["status"] == "running" and row["open_workers"]]
            require(len(running) <= 1, f"executions {running} of task {task_pk} and key {key!r} run under {policy}")
            waiting = [row["pk"] for row in rows if row["status"] == "pending" and row["run_at"] is None]
            is_too_many = policy == "retry_later" and len(waiting) > 1
            require(not is_too_many, f"executions {waiting} of task {task_pk} and key {key!r} wait under {policy}")


def _is_stopped(message: str | None) -> bool:
    return message is not None and message.startswith(("deadlocked", "still running after"))
