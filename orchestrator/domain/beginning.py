"""What an execution begins with: the state of each of its workers, and, where it goes on from another one, the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from app_sdk.protocol.strict_json import MAX_DEPTH, JsonValue, dumps, loads
from orchestrator.domain.states import WorkerStatus
from orchestrator.domain.worker import BEFORE_FIRST_STEP, Worker

Json = dict[str, JsonValue]

# A state may be as deep as JSON from outside may be, and stands three levels deep in what is kept here.
_DEPTH = MAX_DEPTH + 4


@dataclass(frozen=True, slots=True)
class Seed:
    """What a worker begins with: its state and output as JSON text, and where it rests (ready, waiting or done).

    `callback`: what it was called back with, as JSON text, where it was to be called and told of it.
    """

    state: str
    output: str | None = None
    rests: WorkerStatus = WorkerStatus.READY
    callback: str | None = None

    def worker(self, worker_id: int) -> Worker:
        """The worker that begins with this; it is not due yet."""
        is_done, waits = self.rests is WorkerStatus.DONE, self.rests is WorkerStatus.WAITING
        awaited = None if self.callback is None else BEFORE_FIRST_STEP
        return Worker(
            worker_id,
            status=self.rests,
            finished=is_done,
            waits=waits,
            awaited=awaited,
            called_back=awaited is not None,
        )


@dataclass(frozen=True, slots=True)
class Beginning:
    """A seed for each worker, and the execution's output so far, as JSON text."""

    seeds: Mapping[int, Seed]
    output: str | None = None

    def as_text(self) -> str:
        """As it is kept beside the execution."""
        seeds: Json = {
            str(worker_id): {
                "state": as_object(seed.state),
                "output": _maybe_object(seed.output),
                "rests": seed.rests,
                "callback": _maybe_object(seed.callback),
            }
            for worker_id, seed in self.seeds.items()
        }
        return as_text({"seeds": seeds, "output": _maybe_object(self.output)})

    @classmethod
    def of_text(cls, text: str) -> "Beginning":
        """What `as_text` has written."""
        kept = as_object(text)
        seeds = {int(worker_id): _seed(cast(Json, seed)) for worker_id, seed in cast(Json, kept["seeds"]).items()}
        return cls(seeds, _maybe_text(kept["output"]))


def as_object(text: str | None) -> Json:
    """The JSON object in a text of our own; empty where there is none."""
    value = loads(text.encode(), max_depth=_DEPTH) if text else {}
    assert isinstance(value, dict)
    return value


def as_text(value: JsonValue) -> str:
    """The JSON text of a part of a record."""
    return dumps(value, max_depth=_DEPTH).decode()


def _seed(kept: Json) -> Seed:
    return Seed(
        as_text(kept["state"]),
        _maybe_text(kept["output"]),
        WorkerStatus(str(kept["rests"])),
        _maybe_text(kept["callback"]),
    )


def _maybe_object(text: str | None) -> Json | None:
    return None if text is None else as_object(text)


def _maybe_text(value: JsonValue) -> str | None:
    return None if value is None else as_text(value)
