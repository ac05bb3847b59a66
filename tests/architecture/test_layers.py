"""The contracts in pyproject.toml: the code keeps them, and they forbid what they are meant to forbid."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = ROOT / "pyproject.toml"
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")

# A house as small as possible in which every allowed kind of import occurs.
ALLOWED = {
    "app_sdk/__init__.py": "import httpx",
    "app_sdk/app.py": "import asyncio",
    "app_sdk/protocol/__init__.py": "",
    "app_sdk/protocol/answer.py": "import jiter, orjson, pydantic",
    "app_sdk/testing.py": "import orchestrator.domain.worker",
    "orchestrator/__init__.py": "",
    "orchestrator/__main__.py": "import orchestrator.cli",
    "orchestrator/cli/__init__.py": "import typer, orchestrator.runtime, sample_apps, app_sdk",
    "orchestrator/cli/run.py": "import typer, rich, httpx, app_sdk.app, app_sdk, sample_apps.hello",
    "orchestrator/runtime.py": "import orchestrator.api, orchestrator.engine.loop, orchestrator.settings",
    "orchestrator/settings.py": "import os, pydantic_settings",
    "orchestrator/api/__init__.py": "import fastapi, starlette, orchestrator.service",
    "orchestrator/api/apps.py": "import fastapi.responses, starlette.types, app_sdk.protocol.answer",
    "orchestrator/engine/__init__.py": "",
    "orchestrator/engine/loop.py": "import asyncio, aiohttp, orchestrator.service, app_sdk.protocol",
    "orchestrator/service/__init__.py": "import structlog, orchestrator.store.apps",
    "orchestrator/store/__init__.py": "import sqlmodel",
    "orchestrator/store/apps.py": "import alembic, psycopg, sqlalchemy.orm, sqlite3, orchestrator.domain",
    "orchestrator/domain/__init__.py": "",
    "orchestrator/domain/worker.py": "import datetime, random, apscheduler, app_sdk.protocol.answer",
    "sample_apps/__init__.py": "",
    "sample_apps/hello.py": "import fastapi, app_sdk, app_sdk.testing",
}

# contract -> what each of these modules must not import
FORBIDDEN = {
    "layers": [
        ("orchestrator/domain/worker.py", "orchestrator.store"),
        ("orchestrator/service/__init__.py", "orchestrator.engine"),
        ("orchestrator/api/apps.py", "orchestrator.engine"),
        ("orchestrator/engine/loop.py", "orchestrator.settings"),
        ("orchestrator/unplaced.py", "json"),
    ],
    "protocol": [
        ("app_sdk/protocol/answer.py", "app_sdk.app"),
        ("app_sdk/protocol/__init__.py", "httpx"),
    ],
    "sdk": [
        ("app_sdk/app.py", "orchestrator.domain"),
        ("app_sdk/testing.py", "orchestrator.store"),
        ("app_sdk/app.py", "fastapi"),
    ],
    "samples": [("sample_apps/hello.py", "orchestrator.domain")],
    "wire": [
        ("orchestrator/service/__init__.py", "app_sdk.app"),
        ("orchestrator/engine/__init__.py", "app_sdk"),
        ("orchestrator/runtime.py", "sample_apps.hello"),
    ],
    "domain": [
        ("orchestrator/domain/worker.py", "asyncio"),
        ("orchestrator/domain/__init__.py", "time"),
        ("orchestrator/domain/worker.py", "sqlalchemy.orm"),
    ],
    "http": [("orchestrator/runtime.py", "fastapi"), ("orchestrator/engine/loop.py", "starlette.types")],
    "terminal": [("orchestrator/api/__init__.py", "rich"), ("orchestrator/runtime.py", "typer")],
    "sql": [("orchestrator/service/__init__.py", "sqlalchemy"), ("orchestrator/api/apps.py", "sqlmodel")],
}


def lint_imports(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(LINT_IMPORTS), "--no-logo", "--no-cache", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    shutil.copy(PYPROJECT, tmp_path)
    for name, imports in ALLOWED.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(imports + "\n", encoding="utf-8")
    return tmp_path


def test_the_code_keeps_the_contracts() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_allowed_is_allowed(house: Path) -> None:
    done = lint_imports(house)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("contract", FORBIDDEN)
def test_what_is_forbidden_is_found(house: Path, contract: str) -> None:
    for name, module in FORBIDDEN[contract]:
        with (house / name).open("a", encoding="utf-8") as file:
            file.write(f"import {module}\n")
    done = lint_imports(house, "--contract", contract)
    assert done.returncode == 1, done.stdout + done.stderr
    for name, _ in FORBIDDEN[contract]:
        importer = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        assert f"- {importer}" in done.stdout.replace("-   ", "- "), done.stdout


def test_every_contract_is_tried() -> None:
    contracts = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    assert {contract["id"] for contract in contracts} == set(FORBIDDEN)
