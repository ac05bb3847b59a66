"""The PostgreSQL of the tests: each database is new, and nothing is left behind."""

import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.support.postgres import PostgresServer, running_postgres

ROOT = Path(__file__).parents[2]

KILLED_OWNER = """
import os, signal
from tests.support.postgres import running_postgres
with running_postgres() as server:
    print(server.directory, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_database_is_a_copy_of_its_template_and_goes_away_in_spite_of_connections(
    postgres_server: PostgresServer,
) -> None:
    with postgres_server.database() as template:
        with psycopg.connect(template) as connection:
            connection.execute("CREATE TABLE greetings AS SELECT 'hello' AS greeting")
        connection.close()
        with postgres_server.database(template.partition("@/")[2].partition("?")[0]) as url:
            left_open = psycopg.connect(url)
            assert left_open.execute("SELECT greeting FROM greetings").fetchall() == [("hello",)]
    with pytest.raises(psycopg.OperationalError, match="terminat"):
        left_open.execute("SELECT 1")
    left_open.close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


@pytest.mark.slow
def test_the_server_ends_with_a_process_that_was_killed() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_OWNER], cwd=ROOT, capture_output=True, text=True, check=False)
    directory = Path(done.stdout.strip())
    assert directory.is_absolute(), done.stderr
    deadline = time.monotonic() + 30
    while directory.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not directory.exists()


@pytest.mark.slow
def test_a_durable_server_writes_each_commit_to_the_disk() -> None:
    with running_postgres(durable=True) as server, psycopg.connect(server.url("postgres")) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
            assert connection.execute("SELECT current_setting(%s)", [setting]).fetchone() == ("on",), setting
