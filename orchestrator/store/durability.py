"""Whether the database keeps what it has committed, also through a power cut."""

from orchestrator.store.dialect import Dialect
from orchestrator.store.transaction import Transaction

# synchronous_commit is set on each of our connections.
_NEEDED = ("fsync", "full_page_writes")


def switched_off(tx: Transaction) -> list[str]:
    """The settings of PostgreSQL that a commit's durability needs, and that are off."""
    if tx.dialect is Dialect.SQLITE:
        return []
    rows = tx.rows("SELECT name FROM pg_settings WHERE name IN :names AND setting = 'off'", names=list(_NEEDED))
    return sorted(name for (name,) in rows)
