"""The load of a storm: executions launched through whichever node is there, until there are enough."""

import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from tests.chaos.nodes import ChaosNode
from tests.chaos.stage import TASK_ID, Stage

_ENDED = "SELECT count(*) FROM executions WHERE ended_at IS NOT NULL"


class Load:
    """Launches in a thread of its own. `plan` is what each execution does, `steps` how many steps all shall have.

    It goes on after that until `finish` is called.
    """

    def __init__(
        self, stage: Stage, nodes: Sequence[ChaosNode], plan: Mapping[str, Any], steps: int, open_at_once: int
    ) -> None:
        self._stage = stage
        self._nodes = nodes
        self._plan = plan
        self._open_at_once = open_at_once
        self._dice = random.Random(str(plan))
        self._enough = -(-steps // steps_of(plan))
        self._finishing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.launched = 0
        self.failure: Exception | None = None

    @property
    def has_enough(self) -> bool:
        return self.launched >= self._enough or self.failure is not None

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """Launch no more than is enough; raises what went wrong."""
        self._finishing.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        ended = 0
        try:
            while not (self._finishing.is_set() and self.has_enough):
                if self.launched - ended >= self._open_at_once:
                    ended = self._count(ended)
                    time.sleep(0.1)
                else:
                    self._launch()
        except Exception as error:  # noqa: BLE001 - raised again by `finish`
            self.failure = error

    def _count(self, known: int) -> int:
        try:
            return int(self._stage.rows(_ENDED)[0][0])
        except psycopg.OperationalError:
            return known

    def _launch(self) -> None:
        """Under one Idempotency-Key, until it is acknowledged."""
        id_ = f"e{self.launched + 1}"
        for _ in range(1000):
            there = [node for node in self._nodes if not node.is_away]
            if there:
                state = {**self._plan, "seed": self.launched}
                answer = self._dice.choice(there).client.launch(TASK_ID, state, key=id_, id=id_)
                assert answer.outcome != "refused", answer
                if answer.outcome == "ok":
                    self.launched += 1
                    return
            time.sleep(0.1)
        raise AssertionError(f"{id_} could not be launched")


def steps_of(plan: Mapping[str, Any]) -> int:
    """How many steps an execution has that does this."""
    return int(plan["rounds"]) * (int(plan["helpers"]) * int(plan["steps"]) + 1) + 1
