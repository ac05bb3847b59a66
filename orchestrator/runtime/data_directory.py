"""The data directory: the embedded database's file and lock, the master key, the first admin token."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.domain.errors import DatabaseBusy, WrongMasterKey
from orchestrator.service.vault import Vault
from orchestrator.settings import Settings
from orchestrator.store.database import DatabaseOptions
from orchestrator.store.dialect import Dialect

ADMIN_TOKEN_FILE = "admin-token"  # noqa: S105
MASTER_KEY_FILE = "master-key"


def database_options(settings: Settings) -> DatabaseOptions:
    """The database that the settings name."""
    return DatabaseOptions(settings.database_url, settings.database.pool_size)


@contextmanager
def sole_use(options: DatabaseOptions) -> Iterator[None]:
    """Hold the embedded database's lock: one server at a time. Raises DatabaseBusy. (PostgreSQL admits many.)"""
    if options.dialect is Dialect.POSTGRESQL:
        yield
        return
    # One lock for one file: a symbolic link to it leads to the same one.
    path = options.sqlite_path.resolve().with_suffix(".lock")
    make_directory(path.parent)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DatabaseBusy(
                f"another server uses {options.sqlite_path}; stop it, or give this one another --data-dir"
            ) from error
        yield


def make_directory(path: Path) -> None:
    """Make a directory that only its owner can enter; one that exists is left as it is."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def master_key(settings: Settings) -> str:
    """The key that secrets are sealed with: given, or kept in the data directory beside the embedded database.

    Raises WrongMasterKey if none is given for PostgreSQL, where every node must have the same one.
    """
    given = settings.security.master_key
    if given is not None:
        return given.get_secret_value()
    if database_options(settings).dialect is Dialect.POSTGRESQL:
        raise WrongMasterKey(
            "on PostgreSQL the master key must be given: set ORCHESTRATOR_SECURITY__MASTER_KEY, the same on every node"
        )
    path = settings.server.data_dir / MASTER_KEY_FILE
    if not path.exists():
        make_directory(path.parent)
        write_private(path, Vault.new_master_key())
    return path.read_text().strip()


def write_private(path: Path, secret: str) -> None:
    """Write a file that only its owner can read, never readable by others in between."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
