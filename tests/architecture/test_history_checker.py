"""The history checker shares no code with what it judges."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKER = ROOT / "tests" / "history"
# A driver and a parser of HTTP; its own tests also use a test runner and a client.
ALLOWED = {"httptools", "psycopg", *sys.stdlib_module_names}
ALLOWED_IN_TESTS = {"httpx", "pytest", *ALLOWED}
MODULES = sorted(CHECKER.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(CHECKER)))
def test_it_imports_nothing_of_ours_but_itself(path: Path) -> None:
    allowed = ALLOWED_IN_TESTS if path.name.startswith("test_") else ALLOWED
    foreign = {
        name
        for name in imported(path)
        if name.partition(".")[0] not in allowed and name != "tests.history" and not name.startswith("tests.history.")
    }
    assert not foreign, "the checker would believe what it is to judge"


def test_it_names_no_module_of_the_product() -> None:
    """Nor by another way: importlib, runpy, a command."""
    named = [
        path.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node.value.partition(".")[0] in ("orchestrator", "app_sdk", "sample_apps")
    ]
    assert not named
