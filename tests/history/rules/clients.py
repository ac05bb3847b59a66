"""I14: what clients asked for, and what became of it."""

from collections import defaultdict
from collections.abc import Iterator

from tests.history.client_log import ClientCall
from tests.history.dump import Execution
from tests.history.findings import Finding
from tests.history.history import History
from tests.history.json_lines import digest

_LAUNCHING = ("launch", "resume")


def whole_or_absent(history: History) -> Iterator[Finding]:
    """I14: what a client asked for is wholly there or not at all; also where it never learnt the outcome.

    What was acknowledged is there; what was refused is not. All answers under one Idempotency-Key name one execution.
    No execution is there that nobody asked for, and each attempt beyond the first was a retry.
    """
    for execution in history.dump.executions.values():
        for fault in _parts(history, execution):
            yield Finding("I14", f"{execution} {fault}")
    if history.clients.is_given:
        yield from _launches(history)
        yield from _unasked(history)
        yield from _attempts(history)


def _parts(history: History, execution: Execution) -> Iterator[str]:
    if execution.seeds is None:
        yield "has no details"
        return
    for worker_id in execution.seeds:
        if (execution.pk, worker_id) not in history.dump.workers:
            yield f"was launched with worker {worker_id}, which does not exist"
    for worker in history.workers_of(execution.pk):
        if worker.state is None:
            yield f"worker {worker.id} has no state"


def _launches(history: History) -> Iterator[Finding]:
    possible = {
        call.asked["id"] for call in history.clients.of(*_LAUNCHING) if call.asked.get("id") and call.may_have_worked
    }
    named: dict[str, set[str]] = defaultdict(set)
    for call in history.clients.of(*_LAUNCHING):
        asked_id = call.asked.get("id")
        match call.outcome:
            case "ok":
                execution_id = str(call.answered["id"])
                named[call.key or ""].add(execution_id)
                yield from _acknowledged(history, call, execution_id)
            case "refused" if asked_id in history.by_id and asked_id not in possible:
                yield Finding("I14", f"the {call.op} of execution {asked_id} was refused, but it is there")
            case "unknown" if asked_id in history.by_id and call.op == "launch":
                yield from _input(history.by_id[str(asked_id)], call)
    for key, executions in named.items():
        if key and len(executions) > 1:
            names = ", ".join(sorted(executions))
            yield Finding("I14", f"the Idempotency-Key {key} was answered with several executions: {names}")


def _acknowledged(history: History, call: ClientCall, execution_id: str) -> Iterator[Finding]:
    execution = history.by_id.get(execution_id)
    if execution is None:
        yield Finding("I14", f"the {call.op} of execution {execution_id} was acknowledged, but it is not there")
        return
    if call.asked.get("id") not in (None, execution_id):
        yield Finding("I14", f"{execution} was asked for as {call.asked['id']}")
    if call.op == "launch":
        yield from _input(execution, call)


def _input(execution: Execution, call: ClientCall) -> Iterator[Finding]:
    if execution.input != digest(call.asked.get("state") or {}):
        yield Finding("I14", f"{execution} has another input than it was launched with")


def _unasked(history: History) -> Iterator[Finding]:
    """Executions that no client and no schedule launched, beyond those that an unknown launch may have made."""
    launches = list(history.clients.of(*_LAUNCHING))
    asked = {str(call.asked["id"]) for call in launches if call.asked.get("id") and call.may_have_worked}
    asked |= {str(call.answered["id"]) for call in launches if call.outcome == "ok"}
    unknown = sum(call.outcome == "unknown" and not call.asked.get("id") for call in launches)
    strangers = [
        execution.id
        for execution in history.dump.executions.values()
        if execution.id not in asked and not execution.is_scheduled
    ]
    if len(strangers) > unknown:
        text = f"{len(strangers)} executions were asked for by nobody, or by {unknown} launches of unknown outcome"
        yield Finding("I14", f"{text}: {', '.join(sorted(strangers)[:5])}")


def _attempts(history: History) -> Iterator[Finding]:
    retries = history.clients.by_execution("retry")
    for execution in history.dump.executions.values():
        asked = retries.get(execution.id, [])
        # Retries of one Idempotency-Key are one.
        certain = {retry.key or number for number, retry in enumerate(asked) if retry.outcome == "ok"}
        possible = {retry.key or number for number, retry in enumerate(asked) if retry.may_have_worked}
        if not 1 + len(certain) <= execution.attempt <= 1 + len(possible):
            text = f"is in attempt {execution.attempt}, after {len(certain)} to {len(possible)} retries"
            yield Finding("I14", f"{execution} {text}")
