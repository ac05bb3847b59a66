"""An app whose answers are written down beforehand, one list for each execution."""

from collections import defaultdict
from collections.abc import Callable
from inspect import isawaitable
from typing import Any

from tests.support.fake_app import HangUp, Received

Step = Any
"""An answer, a Reply, HangUp, or a function of the request that returns (or awaits) one of these."""


class Script:
    """The handler of a fake app: each call of a worker gets the next of its steps, and the last one ever after.

    A worker without steps of its own gets `otherwise`.
    """

    def __init__(self, otherwise: Step = None) -> None:
        self._steps: dict[tuple[str, int], list[Step]] = {}
        self._otherwise = {"is_done": True} if otherwise is None else otherwise
        self.received: dict[str, list[Received]] = defaultdict(list)

    def write(self, execution_id: str, *steps: Step, worker_id: int = 0) -> None:
        """What the worker of the execution is to be answered, call by call."""
        self._steps[execution_id, worker_id] = list(steps)

    async def __call__(self, request: Received) -> Any:
        worker = request.worker
        self.received[worker["task_exec_id"]].append(request)
        steps = self._steps.get((worker["task_exec_id"], worker["worker_id"]), [self._otherwise])
        step = steps.pop(0) if len(steps) > 1 else steps[0]
        if step is HangUp:
            raise HangUp
        answer = step(request) if isinstance(step, Callable) else step  # type: ignore[arg-type]
        return await answer if isawaitable(answer) else answer
