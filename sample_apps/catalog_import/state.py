"""What a worker of the import remembers from one turn to the next."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from app_sdk.protocol.limits import DEFAULT_LIMITS
from sample_apps.catalog_import.datasets import DatasetName
from sample_apps.catalog_import.slices import Slice


class ImportState(BaseModel):
    """One worker's share of the import.

    Worker 0's begins as the input of the launch, which may name the data set and the size of a page. It has
    no slice yet, and that is how the worker knows that it has to plan. `waits` counts the refusals.
    """

    # A misspelt input is told to whoever launched it, instead of being ignored.
    model_config = ConfigDict(extra="forbid")

    dataset: DatasetName | None = None
    page_size: int | None = Field(default=None, ge=1, le=DEFAULT_LIMITS.items_per_answer)
    slice: Slice | None = None
    waits: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def imported(self) -> int:
        """How many records this worker has imported."""
        return 0 if self.slice is None else self.slice.imported

    @property
    def seconds(self) -> float:
        """From its first turn to its last page; 0 before that."""
        if self.started_at is None or self.finished_at is None:
            return 0.0
        return round((self.finished_at - self.started_at).total_seconds(), 3)
