"""What the simulation must meet now and then: a rare branch that no seed takes any more is tested no more."""

from collections import Counter

# How often in 10,000 seeds, at the least; what was measured is several times that.
EXPECTED = {
    "applied": 100_000,
    "fenced answer": 300,
    # Nearly all that nodes leave behind is taken over because they are silent, long before.
    "lease ran out": 20,
    "lost by lose_silent": 1000,
    "lost by void_claims": 100,
    "claim given back by release_unknown": 300,
    "claim given back by release_claims": 30,
    "claim ended by abort": 1000,
    "unknown commit of apply": 300,
    "refused commit of apply": 300,
    "unknown commit of next_claims": 300,
    "unknown commit of apply_and_claim": 10,
    "claimed ahead": 1000,
    "unknown commit of abort": 5,
    "crash_before_commit": 300,
    "crash_after_commit": 300,
    "node paused": 1000,
    "drained in time": 300,
    "drain cut calls off": 10,
    "clock jumped": 300,
    "database away": 300,
    "renewed": 10_000,
    "released from waiting": 10_000,
    "spawned anew": 3000,
    "last two workers in one commit": 100,
    "retried as ready": 300,
    "retried as waiting": 30,
    "retried as done": 1,
    "people resume": 300,
    "batch delivered again": 3000,
    "batch refused": 300,
    "batch discarded": 30,
    "slot launched": 3000,
    "slot merged": 1,
    "slot missed": 1,
    "slot skipped": 1000,
}
_SEEDS = 10_000
# With fewer seeds a rare branch may be missed by chance.
FEWEST_SEEDS = 2_000


def missed(counters: Counter[str], seeds: int) -> list[str]:
    """What was met too seldom, with the numbers."""
    if seeds < FEWEST_SEEDS:
        return []
    return [
        f"{name}: {counters[name]} of {expected * seeds // _SEEDS}"
        for name, expected in EXPECTED.items()
        if counters[name] < expected * seeds // _SEEDS
    ]
