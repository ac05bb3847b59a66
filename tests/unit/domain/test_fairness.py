"""How the places of a node are shared between apps."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.fairness import Contender, Demand, room, share

crowds = st.lists(st.integers(0, 30), max_size=12).map(
    lambda rooms: [Demand(app, left) for app, left in enumerate(rooms, start=1)]
)
turns = st.integers(0, 1_000_000)


@pytest.mark.parametrize(
    ("limit", "calling", "unanswered", "left"),
    [
        (20, 0, 0, 20),
        (20, 5, 0, 15),
        (20, 20, 0, 0),
        (20, 25, 0, 0),
        (20, 0, 4, 20),
        (20, 0, 5, 2),
        (20, 1, 6, 1),
        (20, 9, 5, 0),
        (1, 0, 5, 1),
    ],
)
def test_room_of_an_app(limit: int, calling: int, unanswered: int, left: int) -> None:
    assert room(limit, calling, unanswered) == left


@pytest.mark.parametrize(
    ("places", "rooms", "turn", "shares"),
    [
        (10, [], 0, {}),
        (0, [5], 0, {}),
        (-3, [5], 0, {}),
        (10, [0, 3], 0, {2: 3}),
        (10, [100], 0, {1: 10}),
        (10, [100, 100], 0, {1: 5, 2: 5}),
        (10, [1, 100], 0, {1: 1, 2: 9}),
        (7, [1, 10, 10], 4, {1: 1, 2: 3, 3: 3}),
        (1, [9, 9, 9], 0, {1: 1}),
        (1, [9, 9, 9], 1, {2: 1}),
        (2, [9, 9, 9], 2, {1: 1, 3: 1}),
    ],
)
def test_shares(places: int, rooms: list[int], turn: int, shares: dict[int, int]) -> None:
    assert share(places, [Demand(app, left) for app, left in enumerate(rooms, start=1)], turn) == shares


@given(st.integers(0, 200), crowds, turns)
def test_neither_places_nor_room_are_exceeded_and_none_is_wasted(places: int, crowd: list[Demand], turn: int) -> None:
    shares = share(places, crowd, turn)
    assert all(0 < shares[demand.app] <= demand.room for demand in crowd if demand.app in shares)
    assert sum(shares.values()) == min(places, sum(demand.room for demand in crowd))


@given(st.integers(0, 200), crowds, turns)
def test_who_has_less_than_another_has_no_room_for_more(places: int, crowd: list[Demand], turn: int) -> None:
    shares = share(places, crowd, turn)
    most = max(shares.values(), default=0)
    for demand in crowd:
        assert shares.get(demand.app, 0) >= min(demand.room, most - 1)


@given(st.integers(1, 12), crowds, turns)
def test_nobody_is_passed_over_for_more_than_a_round(places: int, crowd: list[Demand], turn: int) -> None:
    served: Counter[int] = Counter()
    for later in range(len(crowd)):
        served.update(share(places, crowd, turn + later))
    assert set(served) == {demand.app for demand in crowd if demand.room}


@pytest.mark.parametrize(
    ("waiting", "calling", "gives_way"),
    [
        (0, 1, True),
        (0, 5, True),
        (1, 1, False),
        (1, 2, False),
        (1, 3, True),
        (9, 10, False),
        (8, 10, True),
        (5, 1, False),
    ],
)
def test_a_place_goes_to_the_app_that_has_none_or_two_less(waiting: int, calling: int, gives_way: bool) -> None:
    assert Contender(1, waiting).has_less_than(calling) is gives_way
