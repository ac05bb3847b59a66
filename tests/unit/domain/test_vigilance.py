"""When a node may hold the silence of others against them."""

from orchestrator.domain.vigilance import Vigilance


def beats(vigilance: Vigilance, *times: float) -> list[bool]:
    return [vigilance.beat(time) for time in times]


def test_only_after_a_timeout_of_regular_beats_of_its_own() -> None:
    vigilance = Vigilance(10)
    assert not vigilance.has_begun
    assert beats(vigilance, 100, 102, 104, 106, 108, 109.9, 110, 112) == [False] * 6 + [True] * 2
    assert vigilance.has_begun


def test_after_a_gap_of_its_own_it_waits_anew() -> None:
    vigilance = Vigilance(10)
    assert beats(vigilance, 0, 4, 8, 10)[-1]
    assert beats(vigilance, 15, 20, 25) == [True, True, True]
    # The database was away, or this process was stopped.
    assert beats(vigilance, 30.1, 35, 40) == [False, False, False]
    assert beats(vigilance, 40.1) == [True]
