"""What holds for every module: its size, and that the layer check can see it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("app_sdk", "orchestrator", "sample_apps")
MODULES = sorted(path for package in (*PACKAGES, "tests", "benchmarks") for path in (ROOT / package).rglob("*.py"))
MOST_LINES = 300
EXCUSE = f"Over {MOST_LINES} lines:"


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_long_module_gives_the_reason_in_its_docstring(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    excused = EXCUSE in (ast.get_docstring(ast.parse(source)) or "")
    lines = len(source.splitlines())
    assert lines <= MOST_LINES or excused, f"{lines} lines: divide it, or write in its docstring `{EXCUSE} …`"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_directory_of_modules_is_a_package(package: str) -> None:
    directories = {path.parent for path in (ROOT / package).rglob("*.py")}
    # Alembic runs the migrations as files.
    imported = [directory for directory in directories if "migrations" not in directory.parts]
    bare = [name(directory) for directory in imported if not (directory / "__init__.py").exists()]
    assert not bare, "without __init__.py the layer check passes them over"
