"""A fail-point that cannot be put in place must never pass for one that was not reached."""

import random
from pathlib import Path

import pytest

from orchestrator.engine import dispatcher
from orchestrator.engine.dispatcher import Dispatcher
from tests.chaos import failpoints
from tests.chaos.failpoints import POINTS, Trigger


@pytest.fixture
def trigger(tmp_path: Path) -> Trigger:
    return Trigger(1000, str(tmp_path / "mark"), random.Random(1))


def test_there_are_twelve() -> None:
    assert len(POINTS) == 12


def test_a_target_that_is_gone_is_told_at_once(trigger: Trigger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(dispatcher, "next_claims")
    monkeypatch.delattr(Dispatcher, "_announce")
    for name in ("claiming", "committed"):
        with pytest.raises(AttributeError):
            POINTS[name].arm(trigger)


def test_a_target_that_is_no_function_any_more_is_told_too(trigger: Trigger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "next_claims", None)
    with pytest.raises(AttributeError, match="next_claims"):
        POINTS["claiming"].arm(trigger)


def test_it_fires_the_nth_time_and_only_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = []
    monkeypatch.setattr(failpoints.Trigger, "kill", lambda self: killed.append(True))
    trigger = Trigger(3, str(tmp_path / "mark"), random.Random(1))
    for _ in range(2):
        trigger.hit()
    assert not killed
    for _ in range(5):
        trigger.hit()
    assert killed == [True]
