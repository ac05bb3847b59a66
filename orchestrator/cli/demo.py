"""`orchestrator demo`: from nothing to a real data set imported by ten workers, and what it took."""

import fcntl
import os
import random
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from app_sdk.protocol.signing import generate_secret
from orchestrator.cli.api_client import ApiClient
from orchestrator.cli.children import Child, ended_by_signals
from orchestrator.cli.documents import as_object, read_json
from orchestrator.cli.executions import show_end
from orchestrator.cli.failures import CommandError, ExitCode, Refused, Unreachable
from orchestrator.cli.formats import JsonObject, number
from orchestrator.cli.printing import console, note, say
from orchestrator.cli.run import Run
from orchestrator.cli.watching import Watcher

app = typer.Typer()

Dataset = Literal["airports", "cities"]

DIRECTORY = Path(".orchestrator-demo")
TASK_ID = "app_catalog_import"
_HOST = "127.0.0.1"
# Below what Linux (32768) and macOS (49152) give to clients, which might take one before a child has bound it.
_PORTS = range(31_000, 32_768)
_LOCK_FILE = "demo.lock"
_CONFIG_FILE = "config.toml"
_START_SECS = 30.0
_MOST_RESTARTS = 3
_WATCH_SECS = 0.5
# The upstream serves so many pages a second: the larger set takes larger ones, to end within a minute too.
_PAGE_SIZES: dict[Dataset, int] = {"airports": 250, "cities": 1000}


@dataclass(frozen=True, slots=True)
class Stage:
    """The two processes, where they are, and the secret between them."""

    directory: Path
    server: Child
    sample: Child
    url: str
    sample_url: str
    secret: str


@app.command("demo")
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server and the app running until Ctrl-C.")] = False,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="The server's port.", show_default="a free one")
    ] = None,
    dataset: Annotated[Dataset, typer.Option(help="28,298 airports, or 234,908 cities.")] = "airports",
) -> None:
    """Import a real data set with ten workers: a server, a sample app, ten live bars, a summary.

    It starts afresh each time, in ./.orchestrator-demo, and leaves nothing running.
    """
    with ended_by_signals(), own_directory(DIRECTORY) as directory, ExitStack() as ending:
        stage = _stage(directory, port or free_port())
        try:
            # Ended in the opposite order: calls in flight still find their app.
            for child in (stage.sample, stage.server):
                ending.callback(child.end)
                child.start()
            run = _perform(stage, dataset)
            if keep:
                _stay(stage)
            else:
                say("To look around afterwards: orchestrator demo --keep")
        except CommandError:
            note(f"The logs are in {directory}: server.log and app.log")
            raise
        except KeyboardInterrupt:
            note("Stopping the demo.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    if not run.has_succeeded:
        raise typer.Exit(ExitCode.RUN_FAILED)


@contextmanager
def own_directory(directory: Path) -> Iterator[Path]:
    """An empty directory that is this demo's until it ends. Raises Refused while another demo has it."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        opened = (directory / _LOCK_FILE).open("w")
    except OSError as error:
        raise Refused(f"{directory.absolute()} cannot be used: {error.strerror}") from error
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                f"another demo is running in {directory.resolve()}",
                "End it, or run this one in another directory.",
            ) from None
        for path in directory.iterdir():
            if path.name != _LOCK_FILE:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        yield directory


def free_port() -> int:
    """A port of this machine that nobody listens on at the moment, and that no connection is given for its own end."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            return port
    raise Refused(f"no port from {_PORTS.start} to {_PORTS.stop - 1} is free on {_HOST}")


def server_command(directory: Path, port: int) -> list[str]:
    """How the demo's server is started; `config.toml` there is empty, so that it runs with the defaults."""
    serve = [sys.executable, "-m", "orchestrator", "serve", "--host", _HOST, "--port", str(port)]
    return [*serve, "--data-dir", str(directory), "--config", str(directory / _CONFIG_FILE)]


def sample_command(port: int) -> list[str]:
    """How the sample app is started."""
    return [sys.executable, "-m", "sample_apps.catalog_import", "--port", str(port)]


def _stage(directory: Path, port: int) -> Stage:
    secret, sample_port = generate_secret(), free_port()
    # Nothing of the user's own settings: the demo must not touch another database.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    (directory / _CONFIG_FILE).write_text("# The demo's server runs with the defaults.\n", encoding="utf-8")
    server = Child("server", server_command(directory, port), environment, directory / "server.log")
    environment = environment | {"APP_SECRET_KEY": secret}
    sample = Child("sample app", sample_command(sample_port), environment, directory / "app.log")
    return Stage(directory, server, sample, f"http://{_HOST}:{port}", f"http://{_HOST}:{sample_port}", secret)


def _perform(stage: Stage, dataset: Dataset) -> Run:
    """Install the sample app, launch its task, follow it to its end, and say what it took."""
    say(f"Starting a server and the sample app, in {stage.directory} ...")
    manifest_url = f"{stage.sample_url}/manifest.json"
    manifest = as_object(
        read_json(stage.sample.wait_for(manifest_url, _START_SECS).content, manifest_url), manifest_url
    )
    stage.server.wait_for(f"{stage.url}/readyz", _START_SECS)
    token = (stage.directory / "admin-token").read_text(encoding="utf-8").strip()
    with ApiClient(stage.url, token) as api:
        api.post("v1", "apps", body={"manifest": manifest, "secret_key": stage.secret})
        say(f"Server {stage.url}, app {manifest.get('id')} installed; launching {TASK_ID} ...")
        state = {"dataset": dataset, "page_size": _PAGE_SIZES[dataset]}
        execution_id = str(api.post("v1", "executions", body={"task_id": TASK_ID, "state": state}).get("id"))
        run = Watcher(console(), _Fetch(stage.server, api, execution_id)).watch()
        show_end(run)
        counted = sum(piece.count(b"\n") for piece in api.lines("collector", "items"))
    say(f"The collector has {number(counted)} items.")
    say(f"Where to look: {stage.directory}/server.log, app.log, orchestrator.db")
    return run


class _Fetch:
    """Reads the execution; a server that was killed is started again, and resumes where it was."""

    def __init__(self, server: Child, api: ApiClient, execution_id: str) -> None:
        self._server = server
        self._api = api
        self._execution_id = execution_id
        self._restarts_left = _MOST_RESTARTS

    def __call__(self) -> JsonObject:
        try:
            return self._api.get("v1", "executions", self._execution_id)
        except Unreachable as error:
            if not self._server.has_ended:
                raise
            if not self._restarts_left:
                raise self._server.ended() from None
            self._restarts_left -= 1
            self._server.start()
            raise Unreachable("the server was killed, and has been started again", *error.next_steps) from None


def _stay(stage: Stage) -> None:
    """Show where everything is, and wait for Ctrl-C. Raises RunFailed if a process ends by itself."""
    say("")
    say("It goes on running until Ctrl-C.")
    say(f"  API    {stage.url}/docs")
    say(f"  token  {stage.directory}/admin-token")
    say("In another terminal, in this directory:")
    say(f"  export ORCHESTRATOR_URL={stage.url} ORCHESTRATOR_SERVER__DATA_DIR={stage.directory}")
    say("  orchestrator exec list")
    say(f"  orchestrator task run {TASK_ID} --watch")
    children = (stage.server, stage.sample)
    while not any(child.has_ended for child in children):
        time.sleep(_WATCH_SECS)
    raise next(child for child in children if child.has_ended).ended()
