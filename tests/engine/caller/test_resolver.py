"""Names: what is asked, how often, and what becomes of a name that nobody answers for."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from orchestrator.domain.outcome import FailureKind
from orchestrator.engine import resolver
from orchestrator.engine.resolver import Resolver
from orchestrator.engine.target import Unreachable


class Names:
    """A name server that knows each name, and counts the questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return [] if host == "empty.test" else ["192.0.2.1", "2001:db8::1"]


def soon() -> float:
    return asyncio.get_running_loop().time() + 5


async def test_a_name_is_remembered_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names()
    resolves = Resolver(3, names)
    for host in ("app.test", "app.test", "other.test"):
        assert await resolves.resolve(host, soon()) == ["192.0.2.1", "2001:db8::1"]
    assert names.asked == ["app.test", "other.test"]

    monkeypatch.setattr(resolver, "_FRESH_SECS", 0.0)
    await resolves.resolve("app.test", soon())
    assert names.asked == ["app.test", "other.test", "app.test"]


async def test_only_so_many_names_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "_MAX_REMEMBERED", 2)
    names = Names()
    resolves = Resolver(3, names)
    for host in ("a.test", "b.test", "c.test", "a.test"):
        await resolves.resolve(host, soon())

    assert names.asked == ["a.test", "b.test", "c.test", "a.test"]


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
async def test_an_address_is_not_asked_for(address: str) -> None:
    names = Names()

    assert await Resolver(3, names).resolve(address, soon()) == (address,)
    assert names.asked == []


async def test_a_name_without_addresses_fails_each_time_it_is_asked_for() -> None:
    names = Names()
    resolves = Resolver(3, names)
    for _ in range(2):
        with pytest.raises(Unreachable, match=r"cannot resolve empty\.test: it has no address") as caught:
            await resolves.resolve("empty.test", soon())
        assert caught.value.kind is FailureKind.DNS

    assert names.asked == ["empty.test"] * 2


async def test_names_that_hang_cannot_take_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "_MAX_LOOKUPS", 2)
    answered = threading.Event()

    def hanging(host: str) -> Sequence[str]:
        answered.wait()
        return ["192.0.2.1"]

    resolves = Resolver(3, hanging)
    under_way = [asyncio.create_task(resolves.resolve(f"{n}.test", soon())) for n in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unreachable, match=r"2 other lookups are still without an answer"):
        await resolves.resolve("late.test", soon())
    answered.set()

    assert await asyncio.gather(*under_way) == [["192.0.2.1"]] * 2
    assert await resolves.resolve("late.test", soon()) == ["192.0.2.1"]


async def test_the_system_knows_localhost() -> None:
    assert "127.0.0.1" in await Resolver(3).resolve("localhost", soon())
