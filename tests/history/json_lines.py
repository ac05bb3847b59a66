"""Reading line-delimited JSON, and digests of JSON values, so that what is large need not be kept."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.history.findings import HistoryUnreadable

Json = dict[str, Any]
Source = Path | Iterable[Json]

DIGEST_BYTES = 12


def read_lines(source: Source) -> Iterator[Json]:
    """Each object of a log, in order; a torn last line is passed over. Raises HistoryUnreadable, naming the line."""
    if not isinstance(source, Path):
        yield from source
        return
    with source.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                value = json.loads(line)
            except ValueError as error:
                if not line.endswith("\n"):
                    return
                raise HistoryUnreadable(f"{source}:{number}: {error}") from None
            if not isinstance(value, dict):
                raise HistoryUnreadable(f"{source}:{number}: not an object")
            yield value


def digest(value: Any) -> bytes:
    """Equal for equal JSON: 1 and 1.0 differ, and so do objects whose keys are in another order."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


def digests(values: Iterable[Any]) -> bytes:
    """The digests of a list of values, one after the other: a slice of the list is a slice of these bytes."""
    return b"".join(map(digest, values))


def object_in(text: str | None) -> Json | None:
    """The JSON object that a text holds; None if it holds anything else."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
