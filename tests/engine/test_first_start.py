"""Nodes that start for the first time, also at the same instant, on a database that nobody has served yet."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.errors import Unauthenticated, WrongMasterKey
from orchestrator.runtime.admin_token import ensure_admin_token
from orchestrator.service import tokens, vault, workspaces
from orchestrator.service.vault import Vault
from orchestrator.settings import load_settings
from orchestrator.store import workspace_rows
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.transaction import Transaction


def overtaken(look: Callable[..., Any], other: Callable[[Transaction], object], url: str) -> Callable[..., Any]:
    """The look, but when it has found nothing for the first time, another node does `other` and commits."""
    turns = iter([True])

    def looked(tx: Transaction, name: str) -> Any:
        found = look(tx, name)
        if found is None and next(turns, False):
            database = Database(DatabaseOptions(url))
            database._transact(database._writer_engine, other)
            database._close()
        return found

    return looked


async def test_both_find_the_workspace_made(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Vault("a key")
    others = overtaken(workspace_rows.find, lambda tx: workspaces.ensure_default(tx, key), postgres_url)
    monkeypatch.setattr(workspace_rows, "find", others)
    database = Database(DatabaseOptions(postgres_url))
    await database.write(workspaces.ensure_default, key)
    assert [one.id for one in await database.read(workspaces.every)] == ["default"]
    await database.close()


async def test_of_two_master_keys_the_second_is_refused(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others = overtaken(workspace_rows.setting, lambda tx: vault.check_master_key(tx, Vault("the one")), postgres_url)
    monkeypatch.setattr(workspace_rows, "setting", others)
    database = Database(DatabaseOptions(postgres_url))
    with pytest.raises(WrongMasterKey):
        await database.write(vault.check_master_key, Vault("the other"))
    await database.close()


async def test_a_start_makes_an_admin_token_where_none_counts(database_url: str, tmp_path: Path) -> None:
    settings = load_settings(None, {"server": {"data_dir": tmp_path}})
    file = tmp_path / "admin-token"
    database = Database(DatabaseOptions(database_url))
    try:
        await database.write(workspaces.ensure_default, Vault("a key"))
        await ensure_admin_token(settings, database)
        first = file.read_text().strip()
        assert (await database.read(tokens.authenticate, first)).role is tokens.Role.ADMIN
        await ensure_admin_token(settings, database)
        assert file.read_text().strip() == first

        # As an installation may be found that all admins have locked themselves out of.
        await database.write(lambda tx: tx.run("UPDATE tokens SET revoked_at = 1"))
        await ensure_admin_token(settings, database)
        second = file.read_text().strip()
        assert (await database.read(tokens.authenticate, second)).role is tokens.Role.ADMIN
        with pytest.raises(Unauthenticated):
            await database.read(tokens.authenticate, first)
        assert file.stat().st_mode & 0o777 == 0o600
    finally:
        await database.close()


async def test_an_admin_token_that_was_given_and_revoked_is_told(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(None, {"security": {"admin_token": "orch_given"}})
    database = Database(DatabaseOptions(database_url))
    try:
        await database.write(workspaces.ensure_default, Vault("a key"))
        await ensure_admin_token(settings, database)
        assert "does not count" not in capsys.readouterr().out
        await database.write(lambda tx: tx.run("UPDATE tokens SET revoked_at = 1"))
        await ensure_admin_token(settings, database)
        assert "does not count" in capsys.readouterr().out
    finally:
        await database.close()
