"""What `orchestrator db copy` does: everything of one database into another, while no server runs on either."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from orchestrator.domain.errors import DatabaseOutdated, Invalid, WrongMasterKey
from orchestrator.runtime.data_directory import MASTER_KEY_FILE, database_options, sole_use
from orchestrator.runtime.node_options import retry_of
from orchestrator.service import copying
from orchestrator.service.copying import Copied, Progress, Tell
from orchestrator.service.definitions import Definitions
from orchestrator.service.vault import Vault, prove_master_key
from orchestrator.settings import Settings
from orchestrator.store import schema, transfer
from orchestrator.store.database import DatabaseOptions
from orchestrator.store.dialect import Dialect
from orchestrator.store.transfer import Side

# A node may have another `engine.node_timeout_secs` than we are told, and give its signs of life more seldom.
FRESH = timedelta(minutes=1)

__all__ = ["Moved", "Progress", "copy_database"]


@dataclass(frozen=True, slots=True)
class Moved:
    """What was copied (or would be), and what to give the server from now on: `master_key` says where the key is."""

    copied: Copied
    source: str
    target: str
    master_key_file: Path | None


def copy_database(source: Settings, target: Settings, tell: Tell, *, dry_run: bool) -> Moved:
    """Copy all of the source's database into the target's, in one transaction; `dry_run` stops before the writing.

    Raises Invalid, DatabaseBusy, DatabaseOutdated, DatabaseUnavailable, WrongMasterKey, or Conflict where the target
    is not empty or does not take what the source has. The target is then as it was.
    """
    _refuse_nonsense(database_options(source), database_options(target))
    key, key_file = _master_key(source)
    with (
        _at_rest(source, "source", for_writing=False) as from_side,
        _at_rest(target, "target", for_writing=True) as to_side,
    ):
        prove_master_key(from_side.tx, Vault(key))
        copying.refuse_unless_empty(to_side)
        totals = copying.count(from_side)
        copied = Copied(totals)
        if not dry_run:
            copied = copying.copy(from_side, to_side, Definitions(retry_of(target)), totals, tell)
    return Moved(copied, database_options(source).shown_url, database_options(target).shown_url, key_file)


@contextmanager
def _at_rest(settings: Settings, name: str, *, for_writing: bool) -> Iterator[Side]:
    options = database_options(settings)
    with sole_use(options):
        try:
            schema.check(options, whole=True)
        except DatabaseOutdated as error:
            raise DatabaseOutdated(f"the {name}, {options.shown_url}: {error.message}") from error
        with transfer.opened(options, name, for_writing=for_writing) as side:
            side.keep_still(max(timedelta(seconds=settings.engine.node_timeout_secs), FRESH))
            yield side


def _refuse_nonsense(source: DatabaseOptions, target: DatabaseOptions) -> None:
    if source.dialect is Dialect.SQLITE:
        if not source.sqlite_path.is_file():
            raise Invalid(f"there is no database at {source.sqlite_path}")
        if target.dialect is Dialect.SQLITE and target.sqlite_path.resolve() == source.sqlite_path.resolve():
            raise Invalid("the source and the target are the same database")
    elif source.url == target.url:
        raise Invalid("the source and the target are the same database")


def _master_key(settings: Settings) -> tuple[str, Path | None]:
    """The key of the source, and the file that it was found in; nothing is made where there is none."""
    given = settings.security.master_key
    if given is not None:
        return given.get_secret_value(), None
    options = database_options(settings)
    if options.dialect is Dialect.POSTGRESQL:
        raise WrongMasterKey("the master key must be given: set ORCHESTRATOR_SECURITY__MASTER_KEY to the source's")
    # A server keeps it in its data directory, and that is where its database is unless somebody moved one of them.
    places = [directory / MASTER_KEY_FILE for directory in (options.sqlite_path.parent, settings.server.data_dir)]
    for path in places:
        if path.is_file():
            return path.read_text(encoding="utf-8").strip(), path.resolve()
    raise WrongMasterKey(
        f"there is no master key in {places[0]}: name the server's --data-dir, or set ORCHESTRATOR_SECURITY__MASTER_KEY"
    )
