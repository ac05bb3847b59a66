"""app_sdk.testing works where only the base dependencies are installed, which is what app developers install."""

import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys

ALLOWED = set(sys.stdlib_module_names) | set(sys.argv[1].split(",")) | {"app_sdk", "orchestrator"}


class OnlyTheBase:
    def find_spec(self, name, path=None, target=None):
        top, _, rest = name.partition(".")
        if top not in ALLOWED or (top == "orchestrator" and rest and rest.split(".")[0] != "domain"):
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
    """The distributions that `pip install` of the base brings, by their names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: set[str] = set()
    wanted = [Requirement(line) for line in project["dependencies"]]
    while wanted:
        requirement = wanted.pop()
        if requirement.name in found or (
            requirement.marker and not requirement.marker.evaluate({"extra": ""})
        ):
            continue
        found.add(requirement.name)
        wanted += [Requirement(line) for line in distribution(requirement.name).requires or []]
    return found


def test_a_task_runs_with_the_base_dependencies_alone() -> None:
    modules = {
        module
        for package in base_packages()
        for module in (distribution(package).read_text("top_level.txt") or package).split()
    }
    names = ",".join(module.replace("-", "_") for module in modules)
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{PROGRAM}", names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
