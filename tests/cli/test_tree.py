"""The commands as a whole: names, help, version, and verbs that load late."""

import subprocess
import sys

import pytest

from orchestrator import __version__
from orchestrator.cli.groups import COMMANDS, LateCommand, RootGroup
from tests.cli.support import Invoke

VERBS = """
demo
serve
app install|list|show|check|activate|stop|delete|rotate-secret|state
task list|run|pause|resume
exec list|show|watch|abort|retry|resume|calls|logs|callback|subtext
token create|list|revoke
workspace create|list|secret
workspace secret show|rotate
import list|redeliver|discard|export
subscription create|list|show|pause|resume|delete|replay|deliveries
events watch
db upgrade|check|copy|purge
doctor
"""


def every_command() -> list[list[str]]:
    commands = []
    for line in VERBS.split("\n"):
        *nouns, verbs = line.split() or [""]
        if nouns:
            commands += [[*nouns, verb] for verb in verbs.split("|")]
        elif verbs:
            commands.append([verbs])
    return commands


@pytest.mark.parametrize("command", every_command(), ids=" ".join)
def test_every_command_is_there_and_explains_itself(command: list[str], invoke: Invoke) -> None:
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert f"Usage: orchestrator {' '.join(command)} " in result.stdout


def test_version(invoke: Invoke) -> None:
    assert invoke("--version").stdout == f"orchestrator {__version__}\n"


@pytest.mark.parametrize("arguments", [["exec", "frobnicate"], ["exec", "show"], ["app", "list", "--limit", "0"]])
def test_misuse_is_exit_code_2(arguments: list[str], invoke: Invoke) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stderr
    assert not result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_itself(name: str) -> None:
    late = RootGroup(name="orchestrator").commands[name]
    assert isinstance(late, LateCommand)
    assert late.help == late.real.help.split("\n\n")[0]


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("orchestrator.cli", ("httpx", "pydantic", "rich")),
        ("orchestrator.cli.apps", ("fastapi", "sqlalchemy", "uvicorn", "aiohttp", "orchestrator.runtime")),
    ],
)
def test_no_verb_waits_for_what_others_need(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_python_m_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"orchestrator {__version__}\n"
