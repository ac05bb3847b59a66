"""The parts of a catalogue that the workers share out among them."""

from itertools import pairwise
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Slice(BaseModel):
    """The positions from `start` up to, not including, `stop`; the next one to import is `cursor`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int = Field(ge=0)
    stop: int
    cursor: int

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if not self.start <= self.cursor <= self.stop:
            raise ValueError("a slice has start <= cursor <= stop")
        return self

    @property
    def size(self) -> int:
        """How many positions it has in all."""
        return self.stop - self.start

    @property
    def imported(self) -> int:
        """How many of them are behind the cursor."""
        return self.cursor - self.start

    @property
    def is_finished(self) -> bool:
        """Whether none is left."""
        return self.cursor == self.stop

    def next_page(self, page_size: int) -> range:
        """The positions to import next: the same ones for the same cursor."""
        return range(self.cursor, min(self.cursor + page_size, self.stop))

    def after(self, page: range) -> "Slice":
        """The slice with that page behind its cursor."""
        return Slice(start=self.start, stop=self.stop, cursor=page.stop)


def split(size: int, parts: int) -> list[Slice]:
    """Divide `size` positions into `parts` neighbouring slices, none larger than another by more than one."""
    bounds = [size * part // parts for part in range(parts + 1)]
    return [Slice(start=start, stop=stop, cursor=start) for start, stop in pairwise(bounds)]
