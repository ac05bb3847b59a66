"""The app's shared state, as a turn sees and changes it."""

from collections.abc import Iterator, Mapping
from typing import Any


class AppState(Mapping[str, Any]):
    """Reads the state as it was when the turn began, with this turn's own changes; records the changes.

    The server applies the changes to the state as it is by then, one after the other. Other workers may have
    changed it meanwhile: for counters use `increment`, which loses nothing, and not `set` of what was read.
    """

    def __init__(self, snapshot: Mapping[str, Any]) -> None:
        self._values = dict(snapshot)
        self._mutations: list[dict[str, Any]] = []

    def set(self, key: str, value: Any) -> None:
        """Set a key to a JSON value."""
        self._values[key] = value
        self._mutations.append({"operation": "set", "key": key, "value": value})

    def delete(self, key: str) -> None:
        """Remove a key, if it is there."""
        self._values.pop(key, None)
        self._mutations.append({"operation": "delete", "key": key})

    def increment(self, key: str, by: int | float = 1) -> None:
        """Add to a number; a missing key counts as 0. Raises TypeError where the key holds something else."""
        current = self._values.get(key, 0)
        if isinstance(current, bool) or not isinstance(current, (int, float)):
            raise TypeError(f"the app state's {key!r} is no number and cannot be incremented")
        self._values[key] = current + by
        self._mutations.append({"operation": "increment", "key": key, "value": by})

    @property
    def mutations(self) -> list[dict[str, Any]]:
        """What this turn changed, in order."""
        return list(self._mutations)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
