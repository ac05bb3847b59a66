"""Lists in pages: a cursor says after which entry the next page begins."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson

from orchestrator.domain.errors import Invalid

Entry = TypeVar("Entry")

MOST = 500
DEFAULT = 50
_BIGINT = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted: at most `limit` entries after the cursor's."""

    limit: int = DEFAULT
    cursor: str | None = None

    def numbers(self, kind: str, count: int) -> tuple[int, ...] | None:
        """The `count` integers in the cursor of a list of this kind; None at its start. Raises Invalid."""
        place = self._place(kind)
        if place is None:
            return None
        numbers = tuple(value for value in place if type(value) is int and value in _BIGINT)
        if len(numbers) != count or len(place) != count:
            raise _not_ours()
        return numbers

    def number(self, kind: str) -> int | None:
        """As `numbers`, for one."""
        found = self.numbers(kind, 1)
        return None if found is None else found[0]

    def text(self, kind: str) -> str | None:
        """The text that the cursor of a list of this kind holds; None at its start. Raises Invalid."""
        match self._place(kind):
            case None:
                return None
            case [str(text)] if "\0" not in text:
                return text
            case _:
                raise _not_ours()

    def _place(self, kind: str) -> list[object] | None:
        if self.cursor is None:
            return None
        try:
            found = orjson.loads(base64.b64decode(self.cursor.encode(), altchars=b"-_", validate=True))
        except (binascii.Error, UnicodeEncodeError, orjson.JSONDecodeError):
            raise _not_ours() from None
        match found:
            case [str(named), *place] if named == kind:
                return place
            case _:
                raise _not_ours()


@dataclass(frozen=True, slots=True)
class Slice(Generic[Entry]):
    """A page's entries, and the cursor of the next page; None on the last one."""

    entries: Sequence[Entry]
    next_cursor: str | None


def cut(
    entries: Sequence[Entry], page: Page, kind: str, place: Callable[[Entry], tuple[int | str, ...]]
) -> Slice[Entry]:
    """Make a slice of `limit + 1` entries or fewer: the one too many tells that there is a next page."""
    if len(entries) <= page.limit:
        return Slice(entries, None)
    shown = entries[: page.limit]
    return Slice(shown, cursor_of(kind, place(shown[-1])))


def cursor_of(kind: str, place: tuple[int | str, ...]) -> str:
    """The cursor that `Page` reads again."""
    return base64.urlsafe_b64encode(orjson.dumps([kind, *place])).decode()


def _not_ours() -> Invalid:
    return Invalid("this is not a cursor of this list; take next_cursor from its answer", field="cursor")
