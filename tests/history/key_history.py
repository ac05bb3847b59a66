"""All that was written to one key of an app's state, and whether that can have left a certain value."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final

from tests.history.effects import Mutation
from tests.history.json_lines import Json, digest

# More increments of unknown outcome than this are only bounded, since their sums cannot all be tried.
MOST_TRIED = 12


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


ABSENT: Final = _Absent()
"""The value of a key that does not exist."""


@dataclass(frozen=True, slots=True)
class Write:
    """A mutation that was applied, or, unless it `is_certain`, may have been.

    It was applied after the position `applied_after` of the app log, and before `committed_before` (None: unknown).
    """

    mutation: Mutation
    applied_after: int = -1
    committed_before: int | None = None
    is_certain: bool = True

    @classmethod
    def all_of(cls, mutations: Iterable[Json], *, is_certain: bool) -> "list[Write]":
        """A client's mutations, of which no position is known."""
        return [cls(Mutation.of(entry), is_certain=is_certain) for entry in mutations]


@dataclass(slots=True)
class _Own:
    """What one writer did to the key, in order. `value`: what that makes of a key that did not exist before.

    `last`: its last set or delete, `left` the value that this left; `applied_after`: the latest position of those.
    `low` and `high`: all of its decrements, and all of its increments.
    """

    is_certain: bool
    value: Any = ABSENT
    last: Write | None = None
    left: Any = ABSENT
    applied_after: int = -1
    low: float = 0
    high: float = 0

    def add(self, write: Write) -> None:
        by = write.mutation.value
        match write.mutation.operation:
            case "increment":
                self.value = by if self.value is ABSENT else self.value + by
                self.low += min(by, 0)
                self.high += max(by, 0)
            case operation:
                self.value = self.left = ABSENT if operation == "delete" else by
                self.last = write
                self.applied_after = max(self.applied_after, write.applied_after)


@dataclass(slots=True)
class KeyHistory:
    """The writes of a key, by their writers."""

    writers: dict[object, _Own] = field(default_factory=dict)

    def add(self, writer: object, write: Write) -> None:
        """Take in a write; those of one writer in their order."""
        own = self.writers.get(writer)
        if own is None:
            own = self.writers[writer] = _Own(write.is_certain)
        own.add(write)

    def fault(self, found: Any) -> str | None:
        """Why the key cannot hold what was found, or None."""
        every = list(self.writers.values())
        if len(every) == 1 and every[0].is_certain:
            return _unless_same(found, every[0].value)
        setters = [own for own in every if own.last is not None]
        if not setters:
            return _fault_of_sum(every, found)
        candidates = [own.left for own in setters if not self._is_overwritten(own)]
        if not any(own.is_certain for own in setters):
            candidates.append(ABSENT)
        if any(own.low or own.high for own in every):
            return _fault_of_mixture(every, candidates, found)
        is_one = any(_is_same(found, candidate) for candidate in candidates)
        shown = " or ".join(sorted({_shown(candidate) for candidate in candidates})[:5])
        return None if is_one else f"it holds {_shown(found)}, the last writes were {shown}"

    def _is_overwritten(self, own: _Own) -> bool:
        """True if another writer's write was certainly applied after the last one of this writer."""
        committed = own.last.committed_before if own.last is not None else None
        if committed is None:
            return False
        others = (other for other in self.writers.values() if other is not own and other.is_certain)
        return any(other.applied_after > committed for other in others)


def _fault_of_sum(every: list[_Own], found: Any) -> str | None:
    certain = [own.value for own in every if own.is_certain]
    maybe = [own for own in every if not own.is_certain]
    total = _sum(certain)
    if not maybe:
        return _unless_same(found, total)
    if len(maybe) <= MOST_TRIED:
        chosen = (some for size in range(len(maybe) + 1) for some in combinations(maybe, size))
        is_one = any(_is_same(found, _sum([*certain, *(own.value for own in some)])) for some in chosen)
    else:
        is_one = _is_between(found, total, maybe)
    return None if is_one else f"it holds {_shown(found)}, no sum of {_shown(total)} and increments of unknown outcome"


def _fault_of_mixture(every: list[_Own], candidates: list[Any], found: Any) -> str | None:
    if any(_is_same(found, candidate) or _is_between(found, candidate, every) for candidate in candidates):
        return None
    return f"it holds {_shown(found)}, which no last write and no increments after it can have left"


def _unless_same(found: Any, expected: Any) -> str | None:
    return None if _is_same(found, expected) else f"it holds {_shown(found)} instead of {_shown(expected)}"


def _sum(numbers: list[Any]) -> Any:
    """Exact for integers; floats are rounded once."""
    if not numbers:
        return ABSENT
    return sum(numbers) if all(isinstance(one, int) for one in numbers) else math.fsum(numbers)


def _number(value: Any) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _is_between(found: Any, start: Any, writers: list[_Own]) -> bool:
    first, number = 0 if start is ABSENT else _number(start), _number(found)
    if first is None or number is None:
        return False
    low = first + sum(own.low for own in writers)
    high = first + sum(own.high for own in writers)
    return low <= number <= high or math.isclose(number, low) or math.isclose(number, high)


def _is_same(found: Any, expected: Any) -> bool:
    if found is ABSENT or expected is ABSENT:
        return found is expected
    if isinstance(expected, float) and isinstance(found, float):
        return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)
    return digest(found) == digest(expected)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
