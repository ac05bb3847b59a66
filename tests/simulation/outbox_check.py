"""What leaves the outbox, and what becomes of the slots of schedules."""

from tests.simulation.books import Books, Commit, require
from tests.simulation.manifests import SLOT_SECS
from tests.simulation.store import Row


class OutboxCheck:
    """A batch is closed because the collector has taken it in, refused because it has said so. Raises Violation."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def check(self, commit: Commit) -> None:
        """Before the commit's rows are taken in."""
        for change in commit.of("import_batches"):
            old, new = change.old, change.new
            if old is None or old["status"] == new["status"]:
                continue
            what = f"batch {new['key']} went from {old['status']} to {new['status']} by {commit.label}"
            self._books.counters[f"batch {new['status']}"] += 1
            match new["status"]:
                case "delivered":
                    require(new["key"] in self._books.accepted, f"{what}, and the collector does not have it")
                case "refused":
                    require(new["key"] in self._books.turned_down, f"{what}, and the collector has not refused it")
                case "discarded":
                    require(old["status"] == "refused" and commit.label == "discard", what)
                case _:
                    require(old["status"] == "refused" and commit.label == "redeliver", what)


class ScheduleCheck:
    """One execution or one reason for each slot, in the transaction that moves the schedule on. Raises Violation."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def check(self, commit: Commit) -> None:
        """Before the commit's rows are taken in."""
        recorded = [change.new for change in commit.of("occurrences")]
        for change in commit.of("occurrences"):
            require(change.old is None, f"what became of a slot was changed: {change.old}")
        for change in commit.of("schedules"):
            old, new = change.old, change.new
            if old is not None and old["next_slot_at"] != new["next_slot_at"]:
                self._moved(commit, new["task_pk"], old["next_slot_at"], new["next_slot_at"])
        for row in recorded:
            self._recorded(commit, row)
        begun = [change.new["pk"] for change in commit.of("executions") if change.old is None]
        if commit.label == "launch_due":
            launched = [row["execution_pk"] for row in recorded if row["execution_pk"] is not None]
            require(begun == launched, f"a schedule began {begun}, and recorded {launched}")

    def _moved(self, commit: Commit, task_pk: int, slot: int, following: int) -> None:
        every = int(SLOT_SECS[self._books.tasks[task_pk]] * 1e6)
        owed = list(range(slot, following, every))
        recorded = sorted(row.new["slot_at"] for row in commit.of("occurrences") if row.new["task_pk"] == task_pk)
        require(recorded == owed, f"schedule {task_pk} moved on over the slots {owed}, and recorded {recorded}")

    def _recorded(self, commit: Commit, row: Row) -> None:
        slot = row["task_pk"], row["slot_at"]
        require(slot not in self._books.occurrences, f"slot {slot} had its turn before")
        require(row["slot_at"] <= commit.at, f"slot {slot} had its turn before it had come")
        has_reason = row["execution_pk"] is not None or bool(row["note"])
        require(has_reason, f"slot {slot} was {row['outcome']} without a reason")
        self._books.counters[f"slot {row['outcome']}"] += 1
