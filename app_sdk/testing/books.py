"""What a server keeps of an execution besides its life cycle: states, outputs, messages, items, log lines."""

from dataclasses import dataclass, field
from typing import Any

from app_sdk.protocol.answer import Answer, Progress
from app_sdk.protocol.limits import Limits
from app_sdk.protocol.strict_json import loads
from app_sdk.testing.prepared import Prepared
from app_sdk.testing.records import ImportBatch
from orchestrator.domain.imports import batch_key


@dataclass(slots=True)
class Books:
    """States are JSON texts; the rest is as the app gave it."""

    states: dict[int, str]
    app_state: dict[str, Any]
    limits: Limits
    output: dict[str, Any] = field(default_factory=dict)
    outputs: dict[int, dict[str, Any]] = field(default_factory=dict)
    messages: dict[int, str] = field(default_factory=dict)
    progress: dict[int, Progress] = field(default_factory=dict)
    subtext: str | None = None
    logs: list[str] = field(default_factory=list)
    delivered: dict[str, ImportBatch] = field(default_factory=dict)

    def state(self, worker_id: int) -> dict[str, Any]:
        """A copy of a worker's state."""
        state = loads(self.states[worker_id].encode())
        assert isinstance(state, dict)
        return state

    def close_step(self, worker_id: int, ready: Prepared, spawned: frozenset[int]) -> None:
        """Write down what an applied answer says; `spawned` are the workers that it did start."""
        if ready.state is not None:
            self.states[worker_id] = ready.state
        for new in spawned:
            self.states[new] = ready.spawned[new]
        self.app_state = ready.app_state
        self._tell(worker_id, ready.answer)

    def tell(self, worker_id: int, message: str | None) -> None:
        """Keep what a worker said last, as far as it is shown."""
        if message is not None:
            self.messages[worker_id] = message[: self.limits.message_shown_chars]

    def merge_output(self, worker_id: int, output: dict[str, Any]) -> None:
        """Merge an output into the worker's and the execution's; the new keys win."""
        self.outputs[worker_id] = self.outputs.get(worker_id, {}) | output
        self.output |= output

    def collect(self, execution_id: str, worker_id: int, step: int, ready: Prepared) -> None:
        """Take in the import batches of a step, as a collector does: one that is known counts once."""
        for part, items in enumerate(ready.batches):
            key = batch_key(execution_id, worker_id, step, part)
            self.delivered.setdefault(key, ImportBatch(key, worker_id, step, tuple(items)))

    def _tell(self, worker_id: int, answer: Answer) -> None:
        self.tell(worker_id, answer.message)
        if answer.progress is not None:
            self.progress[worker_id] = answer.progress
        if answer.subtext is not None:
            self.subtext = answer.subtext
        if answer.output is not None:
            self.merge_output(worker_id, answer.output)
        self.logs.extend(answer.logs)
