"""I7: what was applied is delivered, and nothing else."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise

from tests.history.dump import Batch
from tests.history.findings import Finding
from tests.history.history import Call, History, Lane
from tests.history.json_lines import DIGEST_BYTES

_UNDELIVERED = ("pending", "refused")


def exactly_those_applied(history: History) -> Iterator[Finding]:
    """I7: the batches of an applied step hold its items, all of them, in order; the collector has what is delivered.

    A batch comes twice only with the same key and the same items. What is still in the outbox is whole. No batch
    belongs to a step that was not applied, the collector knows no other key, and the batches of a worker arrive in
    their order.
    """
    by_step: dict[tuple[Lane, int], list[Batch]] = defaultdict(list)
    for batch in history.dump.batches:
        by_step[(batch.execution_pk, batch.worker_id), batch.step].append(batch)
    found = _found(history)
    for lane, call in history.every_applied():
        batches = by_step.pop((lane, call.step), [])
        yield from _step(history, lane, call, batches, found)
    for (lane, step), batches in by_step.items():
        keys = ", ".join(batch.key for batch in batches)
        yield Finding("I7", f"{history.name(lane)} step {step} was not applied, but has batches: {keys}")
    yield from _strangers(history, found)
    yield from _order(history)
    yield from _counts(history)


def _found(history: History) -> Mapping[str, bytes]:
    """The items that the collector took in, by the key of their batch."""
    if history.collector is None:
        return history.dump.collected
    return {key: parcel.items for key, parcel in history.collector.parcels.items() if parcel.taken is not None}


def _step(
    history: History, lane: Lane, call: Call, batches: list[Batch], found: Mapping[str, bytes]
) -> Iterator[Finding]:
    name = f"{history.name(lane)} step {call.step}"
    kept = sum(batch.item_count for batch in batches)
    if kept != call.items:
        yield Finding("I7", f"{name} has {call.items} items, its batches {kept}")
        return
    if call.effects is None:
        return
    start = 0
    for batch in sorted(batches, key=lambda batch: batch.part):
        end = start + batch.item_count * DIGEST_BYTES
        expected, start = call.effects.items[start:end], end
        if batch.status == "delivered" and batch.key not in found:
            yield Finding("I7", f"{name}: batch {batch.key} counts as delivered, but the collector never took it")
        if found.get(batch.key, expected) != expected:
            yield Finding("I7", f"{name}: the collector has other items in batch {batch.key} than were applied")
        if batch.status in _UNDELIVERED and batch.items != expected:
            yield Finding("I7", f"{name}: the undelivered batch {batch.key} holds other items than were applied")


def _strangers(history: History, found: Mapping[str, bytes]) -> Iterator[Finding]:
    known = {batch.key for batch in history.dump.batches}
    for key in found.keys() - known:
        yield Finding("I7", f"the collector has batch {key}, which no applied step has given")
    if history.collector is None:
        return
    for key, parcel in history.collector.parcels.items():
        if parcel.differing:
            times = f"{parcel.differing} of {parcel.deliveries} deliveries"
            yield Finding("I7", f"batch {key} came with different items in {times}")
        if key not in known and key not in found:
            yield Finding("I7", f"batch {key} was delivered, which no applied step has given")


def _order(history: History) -> Iterator[Finding]:
    """A worker's next batch is sent only when the one before is recorded as delivered."""
    if history.collector is None:
        return
    arrivals: dict[Lane, list[tuple[int, str]]] = defaultdict(list)
    for batch in sorted(history.dump.batches, key=lambda batch: (batch.step, batch.part)):
        parcel = history.collector.parcels.get(batch.key)
        if parcel is not None and parcel.taken is not None and batch.status != "discarded":
            arrivals[batch.execution_pk, batch.worker_id].append((parcel.taken, batch.key))
    for lane, taken in arrivals.items():
        for (before, first), (after, second) in pairwise(taken):
            if after < before:
                yield Finding("I7", f"{history.name(lane)}: batch {second} was taken before {first}")


def _counts(history: History) -> Iterator[Finding]:
    undelivered = Counter(
        (batch.execution_pk, batch.worker_id) for batch in history.dump.batches if batch.status in _UNDELIVERED
    )
    for lane, worker in history.dump.workers.items():
        if worker.undelivered != undelivered[lane]:
            text = f"counts {worker.undelivered} undelivered batches, and has {undelivered[lane]}"
            yield Finding("I7", f"{history.name(lane)} {text}")
