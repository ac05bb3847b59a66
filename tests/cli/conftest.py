"""The command line in an empty directory, with a server that respx plays."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import respx
from typer.main import get_command
from typer.testing import CliRunner

from orchestrator.cli import app
from tests.cli.support import SERVER, TOKEN, Invoke, Outcome

# Made once: Typer takes longer for it than most tests for all the rest.
COMMAND = get_command(app)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory without config.toml and data, and an environment without our variables."""
    for name in [name for name in os.environ if name.upper().startswith("ORCHESTRATOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def local_token(nowhere: Path) -> str:
    """The admin token of a local server, where the command line looks for it."""
    directory = nowhere / ".orchestrator"
    directory.mkdir(mode=0o700)
    path = directory / "admin-token"
    path.write_text(TOKEN + "\n", encoding="utf-8")
    path.chmod(0o600)
    return TOKEN


@pytest.fixture
def server(local_token: str) -> Iterator[respx.MockRouter]:
    """The server's answers; a request that nobody expects fails the test."""
    with respx.mock(base_url=SERVER, assert_all_called=False) as router:
        yield router


@pytest.fixture
def invoke() -> Invoke:
    """Run the command line without a terminal; an unexpected exception fails the test."""

    def run(*arguments: str, stdin: str | bytes | None = None) -> Outcome:
        with CliRunner().isolation(input=stdin) as (stdout, stderr, _):
            with pytest.raises(SystemExit) as ended:
                COMMAND.main(list(arguments), prog_name="orchestrator")
            sys.stdout.flush()
            sys.stderr.flush()
            code = ended.value.code
            assert code is None or isinstance(code, int)
            return Outcome(code or 0, stdout.getvalue(), stderr.getvalue().decode())

    return run
