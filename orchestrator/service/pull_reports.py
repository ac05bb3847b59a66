"""What executors report about the steps they have claimed: the start, signs of life, the result.

Each is one transaction on one execution. A result goes through `apply` like the answer of an app, so that everything an
answer can do, a result can; only who may say it, and when, is decided here.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app_sdk.protocol.limits import Limits
from app_sdk.protocol.pull_options import FAILURE_PREFIX
from app_sdk.protocol.strict_json import ENVELOPE_DEPTH, MAX_DEPTH, JsonError, JsonValue, dumps
from orchestrator.domain import pulling as verbs
from orchestrator.domain.classify import Unanswered
from orchestrator.domain.errors import ClaimRefused, Invalid
from orchestrator.domain.outcome import FailureKind, Response, Unsuccessful
from orchestrator.domain.pulling import PullTerms, Reason
from orchestrator.service import json_schemas, pull_tasks
from orchestrator.service.apply import Applied, ApplyTerms, apply
from orchestrator.service.claimed import Claim, with_facts
from orchestrator.service.definitions import Definitions, TaskDefinition
from orchestrator.service.holding import Held, hold_one, save
from orchestrator.service.pull_tasks import Found, PullTask
from orchestrator.service.report import Report, report
from orchestrator.service.step_record import telling
from orchestrator.service.tokens import Scope
from orchestrator.store import executions, pulling, records
from orchestrator.store.clock import to_micros
from orchestrator.store.transaction import Transaction

MOST_ERROR_BYTES = 64 * 1024

_DEPTH = MAX_DEPTH + ENVELOPE_DEPTH
_SHOWN_CHARS = 2000


@dataclass(frozen=True, slots=True)
class NamedClaim:
    """The claim that an executor speaks of, by the ids that it was given."""

    scope: Scope
    task_id: str
    exec_id: str


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of life: the line for the log, and how far it has come, where it says so."""

    line: str
    progress: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True)
class Success:
    """What an executor has come to; `problem`: why that does not count."""

    result: JsonValue
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """What an executor has failed with."""

    error: JsonValue


@dataclass(frozen=True, slots=True)
class Settled:
    """How the claim ended. `refused`: why its result did not count; `is_repeat`: it had ended so before.

    `applied` is what the commit has brought about; None for a repeat.
    """

    task: PullTask
    refused: str | None = None
    applied: Applied | None = None

    @property
    def is_repeat(self) -> bool:
        return self.applied is None


def definition_of(tx: Transaction, definitions: Definitions, scope: Scope, task_id: str) -> TaskDefinition:
    """What the task was launched with. Raises NotFound."""
    version_pk = pull_tasks.find(tx, scope, task_id).key.version_pk
    return definitions.read(tx, {version_pk})[version_pk]


def checked(definition: TaskDefinition, result: JsonValue, limits: Limits) -> Success:
    """The result held against its limits and the task's schema; touches nothing."""
    is_step = definition.manifest.pull_result == "step"
    try:
        size = len(dumps(result))
    except JsonError as error:
        return Success(result, f"$.result{error.path.removeprefix('$')}: {error.problem}")
    limit = limits.answer_bytes if is_step else limits.worker_state_bytes
    if size > limit:
        return Success(result, f"the result has {size:,} bytes, and may have {limit:,}")
    schema = definition.manifest.result_schema
    problem = None if schema is None else json_schemas.fault(schema, result)
    return Success(result, problem and f"the result does not fit the task's result_schema: {problem}")


def failed(error: JsonValue) -> Failure:
    """What an executor has failed with; of a very long error, how it begins."""
    try:
        size = len(dumps(error, max_depth=_DEPTH))
    except JsonError:
        # It is refused when it is told.
        return Failure(error)
    return Failure(error if size <= MOST_ERROR_BYTES else {"message": _words(error)[:_SHOWN_CHARS], "truncated": True})


def start(tx: Transaction, definitions: Definitions, named: NamedClaim) -> PullTask:
    """The executor begins the step. Raises NotFound, ClaimRefused."""
    found, held, token = _hold(tx, definitions, named)
    now = tx.now()
    verbs.start_claim(held.execution, found.worker_id, token, PullTerms.of(held.definition.manifest), now)
    save(tx, [held], now)
    return pull_tasks.show(tx, definitions, found)


def notify(tx: Transaction, definitions: Definitions, named: NamedClaim, sign: Sign) -> datetime:
    """The executor is alive; returns until when it need not say so again. Raises NotFound, ClaimRefused."""
    found, held, token = _hold(tx, definitions, named)
    now = tx.now()
    terms = PullTerms.of(held.definition.manifest)
    until = verbs.extend_claim(held.execution, found.worker_id, token, terms, now)
    save(tx, [held], now)
    row = {"execution_pk": held.pk, "worker_id": found.worker_id}
    step = held.execution.workers[found.worker_id].step
    records.log(tx, [{**row, "step": step, "line": sign.line, "logged_at": to_micros(now)}])
    if sign.progress is not None:
        progress = dumps(dict(sign.progress)).decode()
        executions.tell(tx, [telling(held.pk, found.worker_id, progress=progress)])
    return until


def settle(
    tx: Transaction,
    definitions: Definitions,
    named: NamedClaim,
    said: Success | Failure,
    limits: Limits,
    jitter: float,
) -> Settled:
    """The claim ends with a result or a failure, and its worker goes on, is done, or has failed.

    Raises NotFound; ClaimRefused where the claim does not hold any more, unless the same was said before: then the
    first answer is given again. `jitter` in [-1, 1].
    """
    found, held, token = _hold(tx, definitions, named)
    digest = _digest(said)
    try:
        lease = verbs.begun_lease(held.execution, found.worker_id, token)
    except ClaimRefused as refusal:
        return _repeated(tx, definitions, found, token, digest, refusal)
    [claim] = with_facts(tx, [(held, found.worker_id)], lease.since)
    took = max(timedelta(), tx.now() - lease.since)
    made = _report(claim, said, held.definition, limits, took)
    terms = ApplyTerms(lease.node, limits, lease=None, is_full=False)
    applied = apply(tx, definitions, [replace(made, digest=digest)], terms, [jitter])
    return Settled(pull_tasks.show(tx, definitions, found), _refusal_of(tx, found, claim.token), applied)


def _hold(tx: Transaction, definitions: Definitions, named: NamedClaim) -> tuple[Found, Held, int | None]:
    found = pull_tasks.find(tx, named.scope, named.task_id)
    held = hold_one(tx, definitions, found.key.pk)
    if not held.definition.is_pull:
        raise ClaimRefused("this task is not for executors: its app is called", reason=Reason.STATUS.value)
    return found, held, verbs.token_of(named.exec_id, held.uid, found.worker_id)


def _report(
    claim: Claim, said: Success | Failure, definition: TaskDefinition, limits: Limits, took: timedelta
) -> Report:
    match said:
        case Failure(error):
            call = Unsuccessful(FAILURE_PREFIX + _words(error))
            text = dumps({"error": error}, max_depth=_DEPTH).decode()
            return Report(claim, Unanswered(FailureKind.EXECUTOR, call), None, took, said=text)
        case Success(problem=str(problem)):
            return Report(claim, _invalid(problem), None, took)
        case Success(result):
            body = dumps(result if definition.manifest.pull_result == "step" else _done(result), max_depth=_DEPTH)
            return replace(report(claim, Response(200, body), limits, took), http_status=None)


def _done(result: JsonValue) -> dict[str, JsonValue]:
    """The answer of an app that would mean the same. Only objects are merged into outputs: others are wrapped."""
    match result:
        case None:
            return {"is_done": True}
        case dict():
            return {"is_done": True, "output": result}
        case _:
            return {"is_done": True, "output": {"result": result}, "result": result}


def _invalid(problem: str) -> Unanswered:
    return Unanswered(FailureKind.INVALID_BODY, Unsuccessful(f"invalid result: {problem}"))


def _refusal_of(tx: Transaction, found: Found, token: int) -> str | None:
    """Why the result of a claim that has just ended did not count."""
    ended = pulling.ended_claim(tx, found.key.pk, found.worker_id, token)
    assert ended is not None
    return ended.message if ended.failure == FailureKind.INVALID_BODY else None


def _repeated(
    tx: Transaction, definitions: Definitions, found: Found, token: int | None, digest: str, refusal: ClaimRefused
) -> Settled:
    ended = None if token is None else pulling.ended_claim(tx, found.key.pk, found.worker_id, token)
    if ended is None or token is None or ended.digest != digest:
        raise refusal
    task = pull_tasks.as_it_was(pull_tasks.show(tx, definitions, found), token)
    return Settled(task, ended.message if ended.failure == FailureKind.INVALID_BODY else None)


def _digest(said: Success | Failure) -> str:
    match said:
        case Success(result):
            kind, value = "success", result
        case Failure(error):
            kind, value = "fail", error
    try:
        text = dumps([kind, verbs.in_order(value)], max_depth=_DEPTH)
    except JsonError as error:
        raise Invalid(error.problem, field=f"$.params{error.path.removeprefix('$')}") from None
    return hashlib.sha256(text).hexdigest()


def _words(error: JsonValue) -> str:
    match error:
        case str(words) if words:
            return words
        case {"message": str(words)} if words:
            return words
        case None | {}:
            return "a failure without a word"
        case _:
            return dumps(error, max_depth=_DEPTH).decode()
