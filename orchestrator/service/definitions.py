"""What the engine must know of a task's version. Versions never change, so each is read once per process."""

from dataclasses import dataclass

from app_sdk.protocol.manifest import TaskManifest
from orchestrator.domain.policy import OnMultipleExec, TaskPolicy, task_policy
from orchestrator.domain.retry import RetryPolicy
from orchestrator.store.transaction import Transaction

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
    """The versions read so far. `defaults` fills in what a task's retry policy leaves out."""

    def __init__(self, defaults: RetryPolicy) -> None:
        self._defaults = defaults
        self._known: dict[int, TaskDefinition] = {}

    def read(self, tx: Transaction, version_pks: set[int]) -> dict[int, TaskDefinition]:
        """The definitions of the versions; shared between threads, which at worst read a version twice."""
        unknown = sorted(version_pks - self._known.keys())
        if unknown:
            for pk, definition in tx.rows(_READ, pks=unknown):
                manifest = TaskManifest.model_validate_json(definition)
                self._known[pk] = TaskDefinition(manifest, task_policy(manifest, self._defaults))
        return {pk: self._known[pk] for pk in version_pks}
