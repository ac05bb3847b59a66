"""Wake-ups between nodes: NOTIFY in a transaction of its own, LISTEN on a connection of its own (PostgreSQL).

They carry nothing and promise nothing: whatever they announce is found by polling too. NOTIFY takes a lock over the
whole database at its commit, so it never joins a transaction that does work.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from orchestrator.domain.errors import DatabaseUnavailable
from orchestrator.store.postgresql_network import BoundedAsyncConnection, network_timeouts
from orchestrator.store.transaction import Transaction

CHANNEL = "orchestrator_wake"
# How long a connection may be silent before it is asked whether it still stands.
PROBE_SECS = 30.0
_LISTENING = "SELECT pg_listening_channels()"


class ListenUnsupported(Exception):
    """LISTEN does not outlast its transaction here: between us and the database sits a transaction pooler."""


def notify(tx: Transaction) -> None:
    """Tell every listening node, this one too, after the commit."""
    tx.run(f"NOTIFY {CHANNEL}")


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[AsyncIterator[None]]:
    """Listen; what is entered yields once for each notice. Raises DatabaseUnavailable, ListenUnsupported."""
    try:
        timeouts: dict[str, Any] = dict(network_timeouts(url))
        connection = await BoundedAsyncConnection.connect(url, autocommit=True, **timeouts)
        async with connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            # Asked in a statement of its own: a transaction pooler answers it on another connection, or a reset one.
            channels = await (await connection.execute(_LISTENING)).fetchall()
            if (CHANNEL,) not in channels:
                raise ListenUnsupported("LISTEN does not last here")
            yield _notices(connection)
    except psycopg.Error as error:
        raise DatabaseUnavailable(f"the database is not available: {error}") from error


async def _notices(connection: BoundedAsyncConnection) -> AsyncIterator[None]:
    while True:
        async for _ in connection.notifies(timeout=PROBE_SECS):
            yield
        await connection.execute("SELECT 1")
