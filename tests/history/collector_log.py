"""What the collector saw: every delivery of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.history import signatures
from tests.history.json_lines import Json, Source, digests, object_in, read_lines


@dataclass(slots=True)
class Parcel:
    """The deliveries of one batch. `items`: the digests of its items; `taken`: the position of the first one kept.

    `differing` counts the deliveries whose items were others than those of the first.
    """

    items: bytes
    taken: int | None = None
    deliveries: int = 1
    differing: int = 0


@dataclass(slots=True)
class CollectorLog:
    """The deliveries by their key. `faults`: deliveries that are not signed, or not of the agreed form."""

    parcels: dict[str, Parcel] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def read_collector_log(source: Source, secrets: Sequence[str]) -> CollectorLog:
    """`secrets`: those of the workspaces; empty if signatures are not to be checked."""
    log = CollectorLog()
    for position, line in enumerate(read_lines(source)):
        _take(log, line, position, secrets)
    return log


def _take(log: CollectorLog, line: Json, position: int, secrets: Sequence[str]) -> None:
    headers = line["headers"]
    key = headers.get("idempotency-key")
    items = (object_in(line["body"]) or {}).get("items")
    if key is None or not isinstance(items, list):
        log.faults.append(f"delivery {position} has no key, or no list of items")
        return
    fault = signatures.rmd_fault(headers, line["body"].encode(), secrets) if secrets else None
    if fault is not None:
        log.faults.append(f"delivery {position} of batch {key}: {fault}")
    content = digests(items)
    parcel = log.parcels.get(key)
    if parcel is None:
        parcel = log.parcels[key] = Parcel(content)
    else:
        parcel.deliveries += 1
        parcel.differing += content != parcel.items
    if line["taken"] and parcel.taken is None:
        parcel.taken = position
