"""app_sdk.testing works with the base dependencies alone, which is what app developers install."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys

FORBIDDEN = set(sys.argv[1].split(","))


class OnlyTheBase:
    def find_spec(self, name, path=None, target=None):
        top, _, rest = name.partition(".")
        if top in FORBIDDEN or (top == "orchestrator" and rest and rest.split(".")[0] != "domain"):
            raise ModuleNotFoundError(f"not among the base dependencies: {name}", name=name)
        return None


sys.meta_path.insert(0, OnlyTheBase())

from app_sdk import App, Done
from app_sdk.testing import run_task

app = App("app_x", "X")


@app.task("import")
def import_(ctx):
    ctx.items.append({"kind": "a"})
    ctx.app_state.increment("n")
    return Done("ok")


run = run_task(app, "import", lose={(0, 0)})
assert (run.status, len(run.items), run.app_state, len(run.calls)) == ("succeeded", 1, {"n": 1}, 2)
try:
    import apscheduler
except ModuleNotFoundError:
    print("ok")
"""


def base_packages() -> set[str]:
    """The distributions that an installation without extras brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: set[str] = set()
    wanted: list[str] = list(project["dependencies"])
    while wanted:
        name = normalized(re.split(r"[^A-Za-z0-9._-]", wanted.pop(), maxsplit=1)[0])
        if name not in found:
            found.add(name)
            wanted += [line for line in required(name) if "extra ==" not in line]
    return found


def required(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        # What another platform or an older Python would need.
        return []


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_a_task_runs_with_the_base_dependencies_alone() -> None:
    base = base_packages()
    assert {"httpx", "pydantic-core", "typing-extensions", "h11"} <= base
    forbidden = {
        module
        for module, packages in packages_distributions().items()
        if not base & {normalized(package) for package in packages}
    } - {"app_sdk", "orchestrator"}
    assert {"sqlalchemy", "apscheduler", "fastapi", "pytest"} <= forbidden
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{PROGRAM}"
    command = [sys.executable, "-I", "-c", program, ",".join({*forbidden, "sample_apps", "tests"})]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
