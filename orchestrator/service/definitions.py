"""What the engine must know of a task's version. Versions never change, so each is read once and kept a while."""

import threading
from dataclasses import dataclass

from app_sdk.protocol.manifest import TaskManifest
from orchestrator.domain.policy import OnMultipleExec, TaskPolicy, task_policy
from orchestrator.domain.retry import RetryPolicy
from orchestrator.store.transaction import Transaction

# A definition is a few kilobytes.
MOST = 2_000

_READ = "SELECT pk, definition FROM task_versions WHERE pk IN :pks"


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """A task as an execution was launched with it."""

    manifest: TaskManifest
    policy: TaskPolicy

    @property
    def on_multiple_exec(self) -> OnMultipleExec:
        return OnMultipleExec(self.manifest.on_multiple_exec)

    @property
    def is_pull(self) -> bool:
        return self.manifest.transport == "pull"


class Definitions:
    """The versions read lately, MOST at the most. `defaults` fills in what a task's retry policy leaves out."""

    def __init__(self, defaults: RetryPolicy) -> None:
        self._defaults = defaults
        self._known: dict[int, TaskDefinition] = {}
        self._changing = threading.Lock()

    def read(self, tx: Transaction, version_pks: set[int]) -> dict[int, TaskDefinition]:
        """The definitions of the versions; shared between threads, which at worst read a version twice."""
        found = {pk: known for pk in version_pks if (known := self._known.get(pk)) is not None}
        unknown = sorted(version_pks - found.keys())
        if unknown:
            for pk, definition in tx.rows(_READ, pks=unknown):
                manifest = TaskManifest.model_validate_json(definition)
                found[pk] = TaskDefinition(manifest, task_policy(manifest, self._defaults))
            self._remember({pk: found[pk] for pk in unknown})
        return found

    def _remember(self, fresh: dict[int, TaskDefinition]) -> None:
        with self._changing:
            self._known.update(fresh)
            # The ones read first go first; one that is still needed is read again.
            for pk in list(self._known)[: max(0, len(self._known) - MOST)]:
                del self._known[pk]
