"""What `orchestrator db` does: it opens the database itself, and refuses while a server has the embedded one."""

from orchestrator.runtime.data_directory import database_options, sole_use
from orchestrator.settings import Settings
from orchestrator.store import schema


def upgrade_database(settings: Settings) -> str:
    """Bring the schema to this version's; returns its revision. Raises DatabaseBusy."""
    options = database_options(settings)
    with sole_use(options):
        schema.upgrade(options)
    return schema.NEWEST


def check_database(settings: Settings) -> str:
    """Return the schema's revision. Raises DatabaseOutdated if it is not this version's, DatabaseBusy."""
    options = database_options(settings)
    with sole_use(options):
        schema.check(options)
    return schema.NEWEST
