"""What the apps saw: every request that reached them, and what they answered."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.history import signatures
from tests.history.effects import Effects
from tests.history.findings import HistoryUnreadable
from tests.history.json_lines import Json, Source, digest, object_in, read_lines


class StepId(NamedTuple):
    """A step, by the names that the app sees."""

    workspace: str
    execution: str
    worker: int
    step: int

    def __str__(self) -> str:
        return f"execution {self.execution} worker {self.worker} step {self.step}"


@dataclass(slots=True)
class Attempt:
    """A request and its answer. `position` and `answered` tell the order in which they happened.

    `answer` is None where there was none, or none that could be applied. `callback` is the digest of what the request
    carried of a callback.
    """

    key: str
    idempotency_key: str
    position: int
    at: float
    retry_count: int
    state: bytes
    callback: bytes | None
    signature_fault: str | None
    status: int | None = None
    answer: Effects | None = None
    answered: int | None = None
    answered_at: float | None = None

    @property
    def is_applicable(self) -> bool:
        return self.answer is not None and self.status is not None and 200 <= self.status < 300


@dataclass(slots=True)
class Talk:
    """All that was said about one step, in order."""

    attempts: list[Attempt] = field(default_factory=list)

    @property
    def begun(self) -> int:
        """The position of its first request."""
        return self.attempts[0].position


@dataclass(slots=True)
class AppLog:
    """The app logs of a run. `strays`: requests that came to another host than the app's own, or are no calls."""

    talks: dict[StepId, Talk] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)

    def attempts(self) -> Iterator[tuple[StepId, Attempt]]:
        for step, talk in self.talks.items():
            for attempt in talk.attempts:
                yield step, attempt


def read_app_logs(sources: Iterable[Source], secrets: Sequence[str]) -> AppLog:
    """Read logs, one after the other; `secrets` are those that any app may be called with."""
    log = AppLog()
    open_requests: dict[Any, Attempt] = {}
    position = 0
    for source in sources:
        hosts: set[str] = set()
        for line in read_lines(source):
            position += 1
            match line.get("event"):
                case "started":
                    hosts.add(str(line["host"]))
                case "request":
                    attempt = _take_request(log, line, position, hosts, secrets)
                    if attempt is not None:
                        open_requests[line["id"]] = attempt
                case "answer":
                    _take_answer(open_requests.pop(line["id"], None), line, position)
                case "silence":
                    open_requests.pop(line["id"], None)
                case other:
                    raise HistoryUnreadable(f"an app log has no event {other!r}")
    return log


def _take_request(log: AppLog, line: Json, position: int, hosts: set[str], secrets: Sequence[str]) -> Attempt | None:
    if hosts and line.get("host") not in hosts:
        log.strays.append(f"request {line['id']} came to {line.get('host')}, which is not the app's address")
    payload = object_in(line["body"]) or {}
    turn = payload.get("task_exec_worker")
    if not isinstance(turn, dict):
        log.strays.append(f"request {line['id']} is no call of a worker: {line['body'][:100]}")
        return None
    headers = line["headers"]
    body = line["body"].encode("utf-8", "surrogatepass")
    callback = turn.get("callback")
    attempt = Attempt(
        key=headers.get("webhook-id", ""),
        idempotency_key=headers.get("idempotency-key", ""),
        position=position,
        at=line["at"],
        retry_count=turn["retry_count"],
        state=digest(turn["worker_state"]),
        callback=None if callback is None else callback_digest(callback),
        signature_fault=signatures.rmd_fault(headers, body, secrets)
        or signatures.standard_fault(headers, body, secrets),
    )
    step = StepId(payload["workspace_id"], turn["task_exec_id"], turn["worker_id"], turn["step"])
    log.talks.setdefault(step, Talk()).attempts.append(attempt)
    return attempt


def callback_digest(callback: Json) -> bytes:
    """What must be the same between a callback that was sent and one that an app is told."""
    return digest([callback.get("status"), callback.get("output") or {}])


def _take_answer(attempt: Attempt | None, line: Json, position: int) -> None:
    if attempt is not None:
        attempt.status = line["status"]
        attempt.answered = position
        attempt.answered_at = line["at"]
        attempt.answer = Effects.of(object_in(line["body"]))
