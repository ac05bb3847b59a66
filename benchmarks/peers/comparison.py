"""Several peers, several times, in turns, so that a busy machine is unfair to all alike; and the table of it."""

from collections.abc import Mapping, Sequence

from benchmarks.findings import Table, number
from benchmarks.peers.programs import NotRun, Peer
from benchmarks.peers.running import measure
from benchmarks.stores import Stores
from benchmarks.workload import Figures, Load, medians

Found = Mapping[Peer, Sequence[Figures | NotRun]]
HEAD = ("", "steps/s", "CPU us/step", "store us/step", "gap p50 ms", "p99 ms", "repeated", "durability")


def tried(peer: Peer, stores: Stores, load: Load, timeout_secs: float) -> Figures | NotRun:
    """Measure the peer once, or tell why it could not be."""
    try:
        return measure(peer, stores, load, timeout_secs)
    except NotRun as reason:
        return reason


def median(results: Sequence[Figures | NotRun]) -> Figures | NotRun:
    """Medians over the rounds that were run, or the last reason for there being none; repeats are added up."""
    run = [result for result in results if isinstance(result, Figures)]
    if run:
        return medians(run)
    return next((result for result in reversed(results) if isinstance(result, NotRun)), NotRun("no round"))


def quickest(found: Found, beginning: str = "") -> float | None:
    """Steps a second of the quickest peer whose name begins so; None when none was measured."""
    names = {peer.name: median(results) for peer, results in found.items() if peer.name.startswith(beginning)}
    return max((one.steps_per_sec for one in names.values() if isinstance(one, Figures)), default=None)


def table(found: Found) -> Table:
    """One row a peer, the quickest first; a peer that was not run says why."""
    results = {peer: median(rounds) for peer, rounds in found.items()}
    ordered = sorted(results, key=lambda peer: -_speed(results[peer]))
    return Table(HEAD, tuple(_row(peer, results[peer], found[peer]) for peer in ordered))


def row(name: str, result: Figures, durability: str) -> tuple[str, ...]:
    """The row of whoever was measured."""
    values = (result.steps_per_sec, result.own_us, result.store_us, result.gap_p50_ms, result.gap_p99_ms)
    return (name, *(number(value) for value in values), number(result.repeated), durability)


def _speed(result: Figures | NotRun) -> float:
    return result.steps_per_sec if isinstance(result, Figures) else 0.0


def _row(peer: Peer, result: Figures | NotRun, results: Sequence[Figures | NotRun]) -> tuple[str, ...]:
    if isinstance(result, NotRun):
        return (peer.name, *(["-"] * (len(HEAD) - 2)), f"not run: {result}")
    lost = [reason for reason in results if isinstance(reason, NotRun)]
    note = f" ({len(lost)} of {len(results)} rounds not run: {lost[-1]})" if lost else ""
    return row(peer.name, result, peer.durability + note)
