"""What leaves the API: JSON bytes, and the headers that every answer carries."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson
from starlette.responses import Response

from orchestrator.service.paging import Slice
from orchestrator.store.clock import from_micros

Entry = TypeVar("Entry")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def json_answer(body: Mapping[str, Any], status: int = 200) -> Response:
    """An answer of JSON; what was kept as JSON text is carried as it is."""
    return Response(orjson.dumps(body), status, media_type="application/json")


def listing(found: Slice[Entry], show: Callable[[Entry], Mapping[str, Any]]) -> Response:
    """The answer of a list."""
    return json_answer({"items": [show(entry) for entry in found.entries], "next_cursor": found.next_cursor})


def instant(micros: int) -> str:
    """RFC 3339 in UTC, with microseconds."""
    return from_micros(micros).isoformat(timespec="microseconds").replace("+00:00", "Z")


def maybe_instant(micros: int | None) -> str | None:
    """As `instant`; None stays None."""
    return None if micros is None else instant(micros)


def raw(text: str | None) -> orjson.Fragment | None:
    """JSON text as a part of an answer, its numbers and the order of its keys untouched."""
    return None if text is None else orjson.Fragment(text)
