"""What a start of the server does without: each would take a noticeable part of it, and come back unnoticed."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.store import schema
from orchestrator.store.database import DatabaseOptions

UNNEEDED = ("alembic", "httpx", "jsonschema", "pygments", "regex", "rich")
START = """
import sys
from orchestrator.cli.groups import RootGroup
assert RootGroup(name="orchestrator").get_command(None, "serve").real
from orchestrator.store import schema
from orchestrator.store.database import DatabaseOptions
schema.upgrade(DatabaseOptions(sys.argv[1]))
print(*[name for name in sys.argv[2:] if name in sys.modules])
"""


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "again"])
def test_a_start_loads_no_more_than_it_needs(is_first: bool, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orchestrator.db"
    if not is_first:
        schema.upgrade(DatabaseOptions(url))
    command = [sys.executable, "-c", START, url, *UNNEEDED]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    # Alembic makes the tables, and is not asked again.
    assert ("alembic" in loaded) is is_first
    assert is_first or not loaded
    assert schema.current(DatabaseOptions(url)) == schema.NEWEST
