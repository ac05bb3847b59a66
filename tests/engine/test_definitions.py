"""What a process keeps of the versions that it has read: the last few, and every answer is right all the same."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.domain.retry import RetryPolicy
from orchestrator.service import definitions as definitions_module
from orchestrator.service.definitions import Definitions
from orchestrator.store.transaction import Transaction
from tests.engine.test_expiring import update, with_tasks
from tests.support.fake_app import never
from tests.support.world import running_world

VERSIONS = 6
DEFAULTS = RetryPolicy()


class Rows:
    """Stands in for a transaction; counts the versions that were read."""

    def __init__(self) -> None:
        self.read = 0

    def rows(self, _sql: str, pks: list[int]) -> list[tuple[int, str]]:
        self.read += len(pks)
        return [(pk, f'{{"id": "app_t_{pk}", "name": "{pk}"}}') for pk in pks]


async def test_versions_read_long_ago_are_forgotten_and_read_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definitions_module, "MOST", 2)
    known = Definitions(DEFAULTS)

    def texts(tx: Transaction, pks: set[int]) -> dict[int, str | None]:
        return {pk: definition.manifest.description for pk, definition in known.read(tx, pks).items()}

    async with running_world(database_url, never, start=False) as world:
        await world.install()
        for number in range(VERSIONS):
            await update(world, with_tasks("app_test_run", description=f"version {number}"))
        rows = await world.rows("SELECT pk, version FROM task_versions WHERE version > 1 ORDER BY pk")
        wanted = {pk: f"version {version - 2}" for pk, version in rows}
        assert len(wanted) == VERSIONS
        for _ in range(2):
            for pk, text in wanted.items():
                assert await world.database.read(texts, {pk}) == {pk: text}
                assert len(known._known) <= 2
            assert await world.database.read(texts, set(wanted)) == wanted
            assert len(known._known) <= 2


def test_what_is_kept_is_not_read_again() -> None:
    known, tx = Definitions(DEFAULTS), Rows()
    for _ in range(3):
        assert known.read(tx, {1, 2, 3}).keys() == {1, 2, 3}  # type: ignore[arg-type]
    assert tx.read == 3


def test_threads_do_not_take_from_each_other_what_they_have_just_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions_module, "MOST", 3)
    known, start = Definitions(DEFAULTS), threading.Barrier(4)

    def read(first: int) -> None:
        start.wait()
        for pk in range(first, first + 300):
            pks = {pk, pk + 1}
            found = known.read(Rows(), pks)  # type: ignore[arg-type]
            assert {one.manifest.id for one in found.values()} == {f"app_t_{one}" for one in pks}

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(read, first * 7) for first in range(4)]:
            done.result()
    assert len(known._known) <= 3
