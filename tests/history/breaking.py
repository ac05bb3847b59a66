"""Bad histories: each is a good one with one promise broken, and names the rule that must find it."""

from collections.abc import Callable
from typing import NamedTuple

from tests.history.dump import Batch, CallRow
from tests.history.json_lines import Json
from tests.history.story import Story

Break = Callable[[], Story]


class Case(NamedTuple):
    """`build` tells a history that breaks `rule`, and no other."""

    rule: str
    build: Break

    def __str__(self) -> str:
        return f"{self.rule}-{self.build.__name__}"


CASES: list[Case] = []


def breaks(rule: str) -> Callable[[Break], Break]:
    """Register a bad history."""

    def register(build: Break) -> Break:
        CASES.append(Case(rule, build))
        return build

    return register


def row(story: Story, worker: int, step: int, outcome: str = "applied") -> CallRow:
    """The record of a call of execution e1."""
    return next(one for one in story.calls if (one.worker_id, one.step, one.outcome) == (worker, step, outcome))


def request(story: Story, worker: int, step: int, number: int = 0) -> Json:
    """The request of a call of execution e1: the first of its step, or a later one."""
    place = f'"worker_id": {worker}, '
    found = [
        line
        for line in story.app
        if line["event"] == "request" and place in line["body"] and f'"step": {step}' in line["body"]
    ]
    return found[number]


def answer_to(story: Story, asked: Json) -> Json:
    return next(line for line in story.app if line["event"] == "answer" and line["id"] == asked["id"])


def batch(story: Story, worker: int, step: int, part: int = 0) -> Batch:
    return next(one for one in story.dump.batches if (one.worker_id, one.step, one.part) == (worker, step, part))


def delivery(story: Story, key: str) -> Json:
    return next(line for line in story.deliveries if line["headers"]["idempotency-key"] == key)


def state(story: Story) -> Json:
    """The stored state of the app."""
    found = story.dump.apps[1].state
    assert found is not None
    return found
