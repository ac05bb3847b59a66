"""What the clients of the API saw, and when the chaos runner did harm."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, assert_never

from tests.history.json_lines import Json, Source, read_lines

Outcome = Literal["ok", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class ClientCall:
    """A call of the API. A client that was cut off knows no end: it is infinite."""

    op: str
    begin: float
    end: float
    outcome: Outcome
    asked: Json
    answered: Json
    key: str | None = None

    @property
    def may_have_worked(self) -> bool:
        match self.outcome:
            case "ok" | "unknown":
                return True
            case "refused":
                return False
            case _:
                assert_never(self.outcome)


@dataclass(slots=True)
class ClientLog:
    """Every call, in the order of the log; `is_given` is False where there was no log at all."""

    calls: list[ClientCall] = field(default_factory=list)
    is_given: bool = True

    def of(self, *ops: str, execution: str | None = None) -> Iterator[ClientCall]:
        """The calls of some operations, of one execution or of any."""
        for call in self.calls:
            if call.op in ops and execution in (None, call.asked.get("execution_id")):
                yield call

    def by_execution(self, *ops: str) -> dict[str, list[ClientCall]]:
        """The calls of some operations, by the execution that they ask for."""
        found: dict[str, list[ClientCall]] = {}
        for call in self.of(*ops):
            found.setdefault(str(call.asked["execution_id"]), []).append(call)
        return found


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """A time in which the chaos runner did harm."""

    begin: float
    end: float
    what: str

    def touches(self, begin: float, end: float) -> bool:
        return begin <= self.end and self.begin <= end


def read_client_logs(sources: Iterable[Source] | None) -> ClientLog:
    if sources is None:
        return ClientLog(is_given=False)
    return ClientLog([_call(line) for source in sources for line in read_lines(source)])


def read_fault_log(source: Source | None) -> list[FaultWindow]:
    if source is None:
        return []
    return [FaultWindow(line["begin"], line["end"], line["what"]) for line in read_lines(source)]


def _call(line: Json) -> ClientCall:
    return ClientCall(
        op=line["op"],
        begin=line["begin"],
        end=float("inf") if line["end"] is None else line["end"],
        outcome=line["outcome"],
        asked=line.get("asked") or {},
        answered=line.get("answered") or {},
        key=line.get("key"),
    )
