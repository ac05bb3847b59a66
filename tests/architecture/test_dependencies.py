"""Whoever installs a part of the distribution gets what that part imports."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OURS = {"app_sdk", "benchmarks", "orchestrator", "sample_apps", "tests"}

# Parts of another package's interface that live in a distribution of their own.
COMES_WITH = {"pamqp": "aiormq", "pydantic-core": "pydantic", "werkzeug": "flask"}

BASE: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
DEV: list[str] = PROJECT["dependency-groups"]["dev"]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imports(directory: str) -> set[str]:
    """The top-level names that the modules of a directory import."""
    found: set[str] = set()
    for path in (ROOT / directory).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found - OURS - set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    ("directory", "requirements"),
    [
        ("app_sdk", BASE),
        ("orchestrator", BASE + EXTRAS["server"] + EXTRAS["amqp"]),
        ("sample_apps", BASE + EXTRAS["samples"]),
        ("tests", BASE + EXTRAS["server"] + EXTRAS["samples"] + DEV),
    ],
)
def test_every_import_is_declared(directory: str, requirements: list[str]) -> None:
    declared = {plain(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}
    providers = packages_distributions()
    undeclared = set()
    for module in imports(directory):
        candidates = {plain(name) for name in providers.get(module, [module])}
        candidates = {COMES_WITH.get(name, name) for name in candidates}
        if not candidates & declared:
            undeclared.add(module)
    assert not undeclared, "declare them in pyproject.toml"
