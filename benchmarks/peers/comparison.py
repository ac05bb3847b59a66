"""Several peers, several times, in turns, so that a busy machine is unfair to all alike; and the table of it."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack

from benchmarks.peers.programs import Load, NotRun, Peer
from benchmarks.peers.running import Figures, measure
from benchmarks.peers.stores import Stores

Found = Mapping[Peer, Sequence[Figures | NotRun]]
HEAD = ("peer", "steps/s", "peer us/step", "store us/step", "gap p50 ms", "p99 ms", "repeated", "durability")


def compare(
    peers: Iterable[Peer], load: Load, rounds: int, timeout_secs: float, tell: Callable[[str], object]
) -> dict[Peer, list[Figures | NotRun]]:
    """Measure each peer once a round; `tell` is given a line about each measurement."""
    found: dict[Peer, list[Figures | NotRun]] = {peer: [] for peer in peers}
    with ExitStack() as stack:
        stores = Stores(stack)
        for number in range(rounds):
            for peer, results in found.items():
                try:
                    results.append(measure(peer, stores, load, timeout_secs))
                except NotRun as reason:
                    results.append(reason)
                tell(f"round {number + 1}: {peer.name}: {results[-1]}")
    return found


def median(results: Sequence[Figures | NotRun]) -> Figures | NotRun:
    """Medians over the rounds that were run, or the last reason for there being none; repeats are added up."""
    run = [result for result in results if isinstance(result, Figures)]
    if not run:
        return next((result for result in reversed(results) if isinstance(result, NotRun)), NotRun("no round"))
    return Figures(
        steps_per_sec=statistics.median(result.steps_per_sec for result in run),
        peer_us=statistics.median(result.peer_us for result in run),
        store_us=_median(result.store_us for result in run),
        gap_p50_ms=_median(result.gap_p50_ms for result in run),
        gap_p99_ms=_median(result.gap_p99_ms for result in run),
        repeated=sum(result.repeated for result in run),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def table(found: Found) -> str:
    """One line a peer, the quickest first; a peer that was not run says why."""
    lines = [_line(*HEAD)]
    medians = {peer: median(results) for peer, results in found.items()}
    for peer in sorted(medians, key=lambda peer: -_speed(medians[peer])):
        lines.append(_row(peer, medians[peer], found[peer]))
    return "\n".join(lines)


def _speed(result: Figures | NotRun) -> float:
    return result.steps_per_sec if isinstance(result, Figures) else 0.0


def _row(peer: Peer, result: Figures | NotRun, results: Sequence[Figures | NotRun]) -> str:
    if isinstance(result, NotRun):
        return f"{peer.name:18} not run: {result}"
    times = (result.peer_us, result.store_us, result.gap_p50_ms, result.gap_p99_ms)
    cells = ["-" if value is None else f"{value:,.0f}" for value in (result.steps_per_sec, *times, result.repeated)]
    lost = [reason for reason in results if isinstance(reason, NotRun)]
    note = f" ({len(lost)} of {len(results)} rounds not run: {lost[-1]})" if lost else ""
    return _line(peer.name, *cells, peer.durability + note)


def _line(name: str, *cells: str) -> str:
    *numbers, words = cells
    return f"{name:18} " + " ".join(f"{number:>13}" for number in numbers) + f"  {words}"
