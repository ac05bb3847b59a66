"""The third party that workers await, and what a test sees of what it brings about."""

import json
from dataclasses import dataclass
from typing import Any

from orchestrator.service import callbacks
from orchestrator.service.callback_effects import Callback
from orchestrator.service.callback_urls import CallbackSigner
from orchestrator.service.callbacks import Received
from orchestrator.service.tokens import Scope
from tests.support.waiting import eventually
from tests.support.world import WORKSPACE, World

SCOPE = Scope(WORKSPACE)


@dataclass(frozen=True, slots=True)
class Shown:
    """What people see of a worker and its execution. `lines`: (worker id, step, line), in their order."""

    status: str
    message: str | None
    worker: str
    worker_message: str | None
    worker_output: Any
    output: Any
    worker_subtext: str | None
    subtext: str | None
    lines: list[tuple[int, int, str]]


@dataclass(frozen=True, slots=True)
class ThirdParty:
    """Calls back as the API lets it: in a transaction of its own, and then the node looks for work."""

    world: World

    async def call_back(self, task_id: str, scope: Scope = SCOPE, *, succeeded: bool = True, **said: Any) -> Received:
        return await self._receive(callbacks.called(scope, task_id), Callback(succeeded, **said))

    async def call_back_at(self, url: str, task_id: str | None = None, **said: Any) -> Received:
        """Call back at a payload's `callback_url`."""
        name = CallbackSigner(self.world.vault).read(url.rpartition("/")[2])
        return await self._receive(callbacks.signed(name, task_id), Callback(True, **said))

    async def _receive(self, find: callbacks.Find, callback: Callback) -> Received:
        definitions = self.world.node.definitions
        received = await self.world.database.write(callbacks.receive, definitions, find, callback)
        self.world.node.wake()
        return received

    async def awaits(self, execution: str, worker_id: int = 0, step: int | None = None) -> None:
        """Wait until the worker awaits a callback, for this step if one is given."""

        async def probe() -> bool:
            rows = await self.world.rows(
                """SELECT w.status, w.awaited FROM workers w JOIN executions e ON e.pk = w.execution_pk
                    WHERE e.id = :id AND w.worker_id = :worker_id""",
                id=execution,
                worker_id=worker_id,
            )
            return any(status == "awaiting" and step in (None, awaited) for status, awaited in rows)

        await eventually(probe, f"worker {worker_id} of {execution} to await a callback")

    async def fates(self, execution: str) -> dict[tuple[int, int], str]:
        """What is recorded of each (worker id, step)."""
        rows = await self.world.rows(
            """SELECT c.worker_id, c.step, c.fate FROM callbacks c JOIN executions e ON e.pk = c.execution_pk
                WHERE e.id = :id""",
            id=execution,
        )
        return {(worker_id, step): fate for worker_id, step, fate in rows}

    async def shown(self, execution: str, worker_id: int = 0) -> Shown:
        row = await self.world.row(
            """SELECT e.status, e.message, w.status, s.message, s.output, d.output, s.subtext, d.subtext
                 FROM executions e
                 JOIN execution_details d ON d.execution_pk = e.pk
                 JOIN workers w ON w.execution_pk = e.pk AND w.worker_id = :worker_id
                 JOIN worker_states s ON s.execution_pk = e.pk AND s.worker_id = w.worker_id
                WHERE e.id = :id""",
            id=execution,
            worker_id=worker_id,
        )
        lines = await self.world.rows(
            """SELECT l.worker_id, l.step, l.line FROM log_lines l JOIN executions e ON e.pk = l.execution_pk
                WHERE e.id = :id ORDER BY l.pk""",
            id=execution,
        )
        own, whole = (None if text is None else json.loads(text) for text in row[4:6])
        (status, message, worker, worker_message, _, _, worker_subtext, subtext) = row
        told = [(one, step, line) for one, step, line in lines]
        return Shown(status, message, worker, worker_message, own, whole, worker_subtext, subtext, told)
