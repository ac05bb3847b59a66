"""The data items that a turn hands over for import."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from app_sdk.protocol.limits import DEFAULT_LIMITS


class Items:
    """The items of one turn, in the order in which they were added."""

    def __init__(self, limit: int = DEFAULT_LIMITS.items_per_answer) -> None:
        self._items: list[dict[str, Any]] = []
        self._limit = limit

    @property
    def room(self) -> int:
        """How many items the answer of this turn can still take."""
        return self._limit - len(self._items)

    def add(self, kind: str, data: Mapping[str, Any] | BaseModel) -> None:
        """Add an item of Rimdian's form, `{"kind": kind, kind: data}`; raises ValueError as `append` does."""
        self.append({"kind": kind, kind: as_json_object(data)})

    def append(self, item: Mapping[str, Any] | BaseModel) -> None:
        """Add an item; raises ValueError where it has no `kind`, or where there is no room."""
        entry = as_json_object(item)
        if not isinstance(entry.get("kind"), str):
            raise ValueError("an item needs a kind, which is a string")
        if self.room <= 0:
            raise ValueError(f"an answer holds {self._limit} items; return Continue() and add the rest then")
        self._items.append(entry)

    def extend(self, items: Iterable[Mapping[str, Any] | BaseModel]) -> None:
        """Add several items; raises ValueError as `append` does."""
        for item in items:
            self.append(item)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._items)


def as_json_object(value: Mapping[str, Any] | BaseModel) -> dict[str, Any]:
    """A model or mapping as the dict that is sent."""
    return value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else dict(value)
