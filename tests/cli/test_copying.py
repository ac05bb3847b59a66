"""`orchestrator db copy`: what it says and how it ends, on real databases."""

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.cli import copying
from orchestrator.runtime.copying import Progress
from orchestrator.runtime.data_directory import sole_use
from orchestrator.service import workspaces
from orchestrator.service.vault import Vault, check_master_key
from orchestrator.store import schema
from orchestrator.store.database import Database, DatabaseOptions
from orchestrator.store.transaction import Transaction
from orchestrator.store.transfer import all_tables
from tests.cli.support import Invoke
from tests.support.fresh_database import fresh_database
from tests.support.server import wait_for

pytestmark = pytest.mark.slow

KEY = "a key \\ of many characters"
SOURCE = "sqlite:///.orchestrator/orchestrator.db"
NEXT = 'export ORCHESTRATOR_SECURITY__MASTER_KEY="$(cat'


@pytest.fixture
def source(nowhere: Path) -> Path:
    """The data directory of a server that has been started once; its database is SOURCE."""
    directory = nowhere / ".orchestrator"
    directory.mkdir()
    (directory / "master-key").write_text(f"{KEY}\n", encoding="utf-8")
    _serve_once(SOURCE)
    return directory


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, on each of the two."""
    with fresh_database(request, tmp_path) as url:
        yield url


def test_it_copies_and_says_what_is_next(source: Path, target: str, invoke: Invoke) -> None:
    result = invoke("db", "copy", SOURCE, target)
    assert result.exit_code == 0, result.stderr
    assert "Copied 2 rows from sqlite:///.orchestrator/orchestrator.db to " in result.stdout
    assert [line.split() for line in result.stdout.splitlines() if line.startswith("workspaces")] == [
        ["workspaces", "1"]
    ]
    assert f"ORCHESTRATOR_DATABASE__URL='{target}'" in result.stdout
    assert f'{NEXT} {source / "master-key"})"' in result.stdout
    assert KEY not in result.stdout
    assert result.stderr == ""


def test_for_programs(source: Path, target: str, invoke: Invoke) -> None:
    document = json.loads(invoke("db", "copy", SOURCE, target, "--json").stdout)
    rows = {"workspaces": 1, "settings": 1}
    assert document == {
        "dry_run": False,
        "rows": {table: rows.get(table, 0) for table in all_tables()},
        "lost_calls": 0,
    }


def test_a_dry_run_can_be_followed_by_the_copy(source: Path, target: str, invoke: Invoke) -> None:
    result = invoke("db", "copy", SOURCE, target, "--dry-run")
    assert result.exit_code == 0
    assert "Would copy 2 rows" in result.stdout
    assert "nothing was written" in result.stdout
    assert NEXT not in result.stdout
    assert json.loads(invoke("db", "copy", SOURCE, target, "--json").stdout)["rows"]["workspaces"] == 1


def test_a_second_copy_is_refused(source: Path, target: str, invoke: Invoke) -> None:
    assert invoke("db", "copy", SOURCE, target).exit_code == 0
    result = invoke("db", "copy", SOURCE, target)
    assert result.exit_code == 4
    assert "the target is not empty: its table settings has 1 row;" in result.stderr


def test_a_given_key_comes_before_the_file(
    source: Path, target: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_SECURITY__MASTER_KEY", "another")
    result = invoke("db", "copy", SOURCE, target)
    assert result.exit_code == 4
    assert "not the master key" in result.stderr
    monkeypatch.setenv("ORCHESTRATOR_SECURITY__MASTER_KEY", KEY)
    result = invoke("db", "copy", SOURCE, target)
    assert result.exit_code == 0
    assert "ORCHESTRATOR_SECURITY__MASTER_KEY stays as it is" in result.stdout


def test_the_key_may_be_in_another_data_directory(source: Path, target: str, invoke: Invoke, nowhere: Path) -> None:
    elsewhere = nowhere / "else where"
    elsewhere.mkdir()
    (source / "master-key").rename(elsewhere / "master-key")
    assert "there is no master key" in invoke("db", "copy", SOURCE, target).stderr
    assert not (source / "master-key").exists()
    result = invoke("db", "copy", SOURCE, target, "--data-dir", str(elsewhere))
    assert result.exit_code == 0
    assert f"{NEXT} '{elsewhere / 'master-key'}')\"" in result.stdout


def test_a_running_server_is_in_the_way(source: Path, target: str, invoke: Invoke) -> None:
    with sole_use(DatabaseOptions(SOURCE)):
        result = invoke("db", "copy", SOURCE, target)
    assert result.exit_code == 4
    assert "Stop the server first" in result.stderr
    assert invoke("db", "copy", SOURCE, target).exit_code == 0


def test_a_running_server_on_postgresql_is_in_the_way(
    postgres_url: str, tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_SECURITY__MASTER_KEY", KEY)
    _serve_once(postgres_url)
    target = f"sqlite:///{tmp_path / 'target.db'}"
    schema.upgrade(DatabaseOptions(target))
    running = Database(DatabaseOptions(postgres_url, pool_size=1))

    async def copy_meanwhile() -> str:
        await running.read(lambda tx: tx.row("SELECT 1"))
        result = invoke("db", "copy", postgres_url, target)
        assert result.exit_code == 4
        await running.close()
        return result.stderr

    said = asyncio.run(copy_meanwhile())
    assert "a running server are open to the source" in said
    assert "Stop the server first" in said
    result = invoke("db", "copy", postgres_url, target)
    assert result.exit_code == 0, result.stderr


def test_on_postgresql_the_key_must_be_given(postgres_url: str, invoke: Invoke) -> None:
    result = invoke("db", "copy", postgres_url, "sqlite:///target.db")
    assert result.exit_code == 4
    assert "set ORCHESTRATOR_SECURITY__MASTER_KEY" in result.stderr


@pytest.mark.parametrize("behind", ["source", "target"])
def test_both_need_this_versions_schema(source: Path, behind: str, invoke: Invoke) -> None:
    Path(".orchestrator/bare.db").touch()
    ends = [SOURCE, "sqlite:///.orchestrator/bare.db"]
    result = invoke("db", "copy", *(reversed(ends) if behind == "source" else ends))
    assert result.exit_code == 4
    assert f"the {behind}, sqlite:///.orchestrator/bare.db: " in result.stderr
    assert "orchestrator db upgrade" in result.stderr


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (("sqlite:///missing.db", "postgresql://h/d"), "there is no database at missing.db"),
        ((SOURCE, "sqlite:///./.orchestrator/orchestrator.db"), "the same database"),
        (("postgres://h/d", "postgresql://h/d"), "the same database"),
        (("mysql://x", "postgresql://h/d"), "database.url (from the command line)"),
        ((SOURCE,), "TARGET"),
    ],
)
def test_misuse(source: Path, ends: tuple[str, ...], said: str, invoke: Invoke) -> None:
    result = invoke("db", "copy", *ends)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not Path("missing.db").exists()


def test_a_password_is_not_printed(source: Path, invoke: Invoke) -> None:
    result = invoke("db", "copy", SOURCE, "postgresql://ada:hidden@127.0.0.1:1/d")
    assert result.exit_code == 4
    assert "not available" in result.stderr
    assert "hidden" not in result.stdout + result.stderr


def test_on_a_terminal_a_bar_shows_the_table_that_is_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    terminal = Console(file=drawn, force_terminal=True, width=100)
    monkeypatch.setattr(copying, "console", lambda *, stderr: terminal)
    with copying.shown_progress() as tell:
        for progress, shown in (
            (Progress("calls", 0, 2000), ["Copying calls", "0/2000"]),
            (Progress("calls", 1500, 2000), ["Copying calls", "1500/2000"]),
            (Progress("calls", 0, 1800, is_check=True), ["Checking calls", "0/1800"]),
        ):
            before = len(drawn.getvalue())
            tell(progress)
            _is_drawn(drawn, before, shown)


def _is_drawn(drawn: io.StringIO, after: int, shown: list[str]) -> None:
    """Wait for a frame with these texts: rich draws ten times a second."""
    wait_for(lambda: all(text in drawn.getvalue()[after:] for text in shown), f"a frame with {shown}")


def _serve_once(url: str) -> None:
    """What the first start of a server leaves in its database."""
    options = DatabaseOptions(url)
    schema.upgrade(options)

    async def start() -> None:
        database = Database(options)
        await database.write(_first_start)
        await database.close()

    asyncio.run(start())


def _first_start(tx: Transaction) -> None:
    vault = Vault(KEY)
    check_master_key(tx, vault)
    workspaces.ensure_default(tx, vault)
