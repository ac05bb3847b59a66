"""I12: tasks that executors claim. By the clients' log alone: the executors are clients."""

from collections import defaultdict
from collections.abc import Iterator

from tests.history.client_log import ClientCall
from tests.history.findings import Finding
from tests.history.history import History
from tests.history.json_lines import digest

_TERMINAL = ("pull.success", "pull.fail")
_NAMING = ("pull.start", "pull.notify", *_TERMINAL)


def one_claimant(history: History) -> Iterator[Finding]:
    """I12: an execId is handed out once; what is accepted under one was handed out, and was the task's newest.

    Newest, as far as the clients can know: no claim of the same task with another execId had begun after the first
    was handed out, and been answered, before the accepted call began. The same execId is ended in one way only.
    """
    handed_out: dict[str, list[tuple[ClientCall, str]]] = defaultdict(list)
    by_task: dict[str, list[tuple[ClientCall, str]]] = defaultdict(list)
    for call in history.clients.of("pull.claim"):
        for task in call.answered.get("tasks", []) if call.outcome == "ok" else ():
            handed_out[task["execId"]].append((call, task["id"]))
            by_task[task["id"]].append((call, task["execId"]))
    for exec_id, claims in handed_out.items():
        if len(claims) > 1:
            yield Finding("I12", f"execId {exec_id} was handed out {len(claims)} times")
    some_unknown = any(call.outcome == "unknown" for call in history.clients.of("pull.claim"))
    for call in history.clients.of(*_NAMING):
        if call.outcome == "ok":
            fault = _fault(call, handed_out, by_task, some_unknown)
            if fault is not None:
                yield Finding("I12", f"{call.op} of task {call.asked['id']} was accepted, {fault}")
    yield from _endings(history)


def _fault(
    call: ClientCall,
    handed_out: dict[str, list[tuple[ClientCall, str]]],
    by_task: dict[str, list[tuple[ClientCall, str]]],
    some_unknown: bool,
) -> str | None:
    task, exec_id = str(call.asked["id"]), str(call.asked["execId"])
    own = [claim for claim, claimed in handed_out.get(exec_id, []) if claimed == task]
    if not own:
        # An executor whose claim was answered by nobody knows no execId; but somebody may have read it elsewhere.
        return None if some_unknown else f"although execId {exec_id} was never handed out for it"
    for claim, newer in by_task[task]:
        if newer != exec_id and claim.begin > own[0].end and claim.end < call.begin:
            return f"although execId {newer} had been handed out after its {exec_id}"
    return None


def _endings(history: History) -> Iterator[Finding]:
    ends: dict[str, set[bytes]] = defaultdict(set)
    for call in history.clients.of(*_TERMINAL):
        if call.outcome == "ok":
            ends[str(call.asked["execId"])].add(digest([call.op, sorted(call.asked.items())]))
    for exec_id, contents in ends.items():
        if len(contents) > 1:
            yield Finding("I12", f"execId {exec_id} was ended in {len(contents)} different ways")
