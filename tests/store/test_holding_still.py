"""While a database is copied nobody else writes to it: servers and other writers are seen, and told of."""

from datetime import timedelta

import psycopg
import pytest

from orchestrator.domain.errors import Conflict, DatabaseBusy, DatabaseUnavailable
from orchestrator.store import nodes, schema, transfer
from orchestrator.store.clock import to_micros
from orchestrator.store.database import DatabaseOptions
from orchestrator.store.nodes import NodeFacts
from orchestrator.store.postgresql_connections import APPLICATION_NAME

FRESH = timedelta(minutes=1)


def test_nobody_writes_meanwhile_on_postgresql(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = DatabaseOptions(postgres_url)
    schema.upgrade(options)
    monkeypatch.setattr(transfer, "LOCK_PATIENCE_SECS", 0.05)
    with psycopg.connect(postgres_url) as other:
        other.execute("INSERT INTO settings (name, value) VALUES ('a', 'b')")
        with pytest.raises(DatabaseBusy, match="somebody is writing to the source"):
            _hold_still(options)
        other.commit()
        _hold_still(options)
        with transfer.opened(options, "source", for_writing=False) as side:
            side.keep_still(FRESH)
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("SET LOCAL lock_timeout = 50; UPDATE settings SET value = 'c'")
        other.rollback()


@pytest.mark.parametrize(
    ("state", "age", "is_busy"),
    [
        ("live", timedelta(), True),
        ("draining", timedelta(seconds=50), True),
        ("live", timedelta(seconds=70), False),
        ("stopped", timedelta(), False),
    ],
)
def test_nodes_are_known_by_their_signs_of_life_whatever_their_connections_are_called(
    postgres_url: str, state: str, age: timedelta, is_busy: bool
) -> None:
    options = DatabaseOptions(postgres_url)
    schema.upgrade(options)
    facts = NodeFacts("north:1", "north", "all", "1", "http://north:8400")
    with transfer.opened(options, "source", for_writing=True) as side:
        nodes.beat(side.tx, facts, state, to_micros(side.tx.now() - age))
    if not is_busy:
        _hold_still(options)
        return
    with pytest.raises(
        DatabaseBusy, match="gave the source a sign of life within the last 60 s, and have not stopped: 1"
    ):
        _hold_still(options)


def test_connections_of_servers_are_seen_on_postgresql(postgres_url: str) -> None:
    options = DatabaseOptions(postgres_url)
    schema.upgrade(options)
    with psycopg.connect(postgres_url, application_name=APPLICATION_NAME), pytest.raises(DatabaseBusy, match="server"):
        _hold_still(options)


def test_a_role_that_may_only_read_is_told_so(postgres_url: str) -> None:
    schema.upgrade(DatabaseOptions(postgres_url))
    with psycopg.connect(postgres_url, autocommit=True) as owner:
        owner.execute("CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        try:
            with pytest.raises(Conflict, match="the source does not allow what a copy does: permission denied"):
                _hold_still(DatabaseOptions(postgres_url.replace("postgres@", "reader@")))
        finally:
            owner.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_a_database_that_is_away() -> None:
    options = DatabaseOptions("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailable, match="the target is not available"):
        _hold_still(options, "target")


def _hold_still(options: DatabaseOptions, name: str = "source") -> None:
    with transfer.opened(options, name, for_writing=False) as side:
        side.keep_still(FRESH)
