"""Going back to an earlier call: what every worker rested on when that call was made, found again in the records.

The result is what a retry would resume, had the execution ended at that moment. The calls of a worker and the spawns
that restarted it are told apart by its fencing tokens, which only grow, and not by any clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app_sdk.protocol.strict_json import JsonValue
from orchestrator.domain.beginning import Beginning, Json, Seed, as_object, as_text
from orchestrator.domain.states import WorkerStatus


class RecordsMissing(LookupError):
    """The record of a step of a worker is gone, so that nobody knows what it had come to."""


@dataclass(frozen=True, slots=True)
class AppliedCall:
    """The record of a call whose answer was applied.

    `answer` as it was recorded. `spawned`: the workers that it (re)started, with the tokens that they had then.
    `rests`: where it left its worker. `ended_at`: microseconds. `callback`: what ended the wait that it asked for, if
    that has come.
    """

    worker_id: int
    token: int
    step: int
    ended_at: int
    answer: Json
    spawned: Mapping[int, int] = field(default_factory=dict)
    rests: WorkerStatus = WorkerStatus.READY
    callback: "AppliedCallback | None" = None


@dataclass(frozen=True, slots=True)
class AppliedCallback:
    """A callback that was applied, as JSON text; `at`: microseconds."""

    text: str
    at: int


@dataclass(slots=True)
class _Lane:
    """A worker: what it last began with, and since which token; what its last call left; the state of its last one."""

    began: str | None = None
    since: int = -1
    rests: WorkerStatus = WorkerStatus.READY
    token: int = -1
    state: str | None = None
    state_token: int = -1
    output: Json = field(default_factory=dict)
    steps: int = 0
    callback: str | None = None
    """What it was called back with, until an answer without an error to that."""

    def seed(self, worker_id: int) -> Seed:
        is_untouched = self.token <= self.since
        state = self.began if is_untouched or self.state_token <= self.since else self.state
        if state is None:
            raise RecordsMissing(f"the call that started worker {worker_id} is not recorded any more")
        output = as_text(self.output) if self.output else None
        if is_untouched:
            return Seed(state, output)
        return Seed(state, output, self.rests, self.callback)


class Past:
    """Takes in the calls that lie before a moment, those of a worker in their order, and tells what they come to."""

    def __init__(self, beginning: Beginning) -> None:
        self._lanes = {
            # A worker's first claim has the token 1, a spawn of one that was seeded as done the token 0.
            worker_id: _Lane(
                began=seed.state, rests=seed.rests, token=0, output=as_object(seed.output), callback=seed.callback
            )
            for worker_id, seed in beginning.seeds.items()
        }
        self._output: dict[str, tuple[int, JsonValue]] = {
            key: (0, value) for key, value in as_object(beginning.output).items()
        }

    def add(self, call: AppliedCall) -> None:
        """Take in a call. Raises RecordsMissing where an earlier one is missing."""
        lane = self._lanes.setdefault(call.worker_id, _Lane())
        if call.step != lane.steps:
            raise RecordsMissing(f"step {lane.steps} of worker {call.worker_id} is not recorded any more")
        lane.steps += 1
        lane.token, lane.rests = call.token, call.rests
        state, output = call.answer.get("updated_worker_state"), call.answer.get("output")
        if state is not None:
            lane.state, lane.state_token = as_text(state), call.token
        if isinstance(output, dict):
            lane.output.update(output)
            self._merge(output, call.ended_at)
        if not call.answer.get("is_error"):
            lane.callback = None
        if call.callback is not None:
            self._call_back(lane, call, call.callback)
        initial_states = _initial_states(call.answer)
        for worker_id, token in call.spawned.items():
            spawned = self._lanes.setdefault(worker_id, _Lane())
            if token > spawned.since:
                spawned.began, spawned.since = as_text(initial_states[worker_id]), token

    def beginning(self) -> Beginning:
        """What an execution begins with that goes on from here. Raises RecordsMissing."""
        seeds = {worker_id: self._lanes[worker_id].seed(worker_id) for worker_id in sorted(self._lanes)}
        output = {key: value for key, (_, value) in self._output.items()}
        return Beginning(seeds, as_text(output) if output else None)

    def _call_back(self, lane: _Lane, call: AppliedCall, callback: AppliedCallback) -> None:
        said, asked = as_object(callback.text), call.answer.get("await_callback")
        output = said.get("output")
        if isinstance(output, dict):
            lane.output.update(output)
            self._merge(output, callback.at)
        if said["status"] != "SUCCESS":
            return
        if isinstance(asked, dict) and asked["resume"]:
            lane.callback = callback.text
        else:
            lane.rests = WorkerStatus.DONE

    def _merge(self, output: Json, ended_at: int) -> None:
        # The calls of several workers do not come in the order of their ends: the later end wins.
        for key, value in output.items():
            if key not in self._output or self._output[key][0] <= ended_at:
                self._output[key] = (ended_at, value)


def _initial_states(answer: Json) -> dict[int, JsonValue]:
    asked = answer.get("new_workers")
    found: dict[int, JsonValue] = {}
    for new in asked if isinstance(asked, list) else ():
        assert isinstance(new, dict)
        # Of a worker that is named twice, the first counts.
        found.setdefault(int(str(new["worker_id"])), new["initial_state"])
    return found
