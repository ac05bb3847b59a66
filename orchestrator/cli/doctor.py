"""`orchestrator doctor`: what a person would look at first when something does not work."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import typer

from orchestrator import __version__
from orchestrator.cli.api_client import ApiClient, is_loopback
from orchestrator.cli.connecting import (
    ConfigOption,
    TokenOption,
    UrlOption,
    admin_token_path,
    find_token,
    read_settings,
    server_url,
)
from orchestrator.cli.failures import CommandError, ExitCode
from orchestrator.cli.findings import Finding, is_ok, report
from orchestrator.cli.formats import JsonObject, number, one_line
from orchestrator.cli.options import JsonOption
from orchestrator.settings import Settings

app = typer.Typer()

_OTHERS = 0o077
_LOW_SPACE_BYTES = 2**30


@app.command("doctor")
def doctor(
    url: UrlOption = None, token: TokenOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Look into the settings, the data directory, the server, the token and the work that waits.

    The exit code is 0 when nothing has failed, 5 when no server is reached, 4 when it refuses the token.
    """
    settings = read_settings(url, token, config)
    findings = list(_local(settings))
    code = _look_at_server(settings, findings)
    report(findings, as_json=as_json)
    if code is ExitCode.OK and not is_ok(findings):
        code = ExitCode.RUN_FAILED
    raise typer.Exit(code)


def _local(settings: Settings) -> Iterator[Finding]:
    directory = settings.server.data_dir
    if not is_loopback(server_url(settings)):
        return
    if not directory.is_dir():
        yield Finding("data directory", "warning", f"{directory} is not there; `orchestrator serve` makes it")
        return
    readable = [path.name for path in _private_files(settings) if path.stat().st_mode & _OTHERS]
    if readable:
        yield Finding("data directory", "failed", f"others can read {', '.join(readable)} in {directory}: chmod 600")
    free = shutil.disk_usage(directory).free
    space = f"{directory}, {number(free // 2**20)} MiB free"
    yield Finding("disk", "warning" if free < _LOW_SPACE_BYTES else "ok", space)


def _private_files(settings: Settings) -> list[Path]:
    token = admin_token_path(settings)
    return [path for path in (token, token.with_name("master-key")) if path.exists()]


def _look_at_server(settings: Settings, findings: list[Finding]) -> ExitCode:
    """Add what there is to say about the server; the exit code is that of the first thing that fails."""
    try:
        url = server_url(settings)
        token = find_token(settings, url)
        with ApiClient(url, token) as api:
            check = "server"
            api.get("healthz")
            findings.append(Finding("server", "ok", url))
            check = "ready"
            api.get("readyz")
            findings.append(Finding("ready", "ok", "it takes work"))
            check = "token"
            status = api.get("v1", "status")
            findings.append(Finding("token", "ok", "accepted"))
            findings.extend(_status_findings(status))
    except CommandError as error:
        advice = "; ".join(error.next_steps)
        findings.append(Finding(check, "failed", f"{error.message}{'. ' if advice else ''}{advice}"))
        return error.exit_code
    return ExitCode.OK


def _status_findings(status: JsonObject) -> Iterator[Finding]:
    version = one_line(status.get("version"))
    same = version == __version__
    yield Finding("version", "ok" if same else "warning", version if same else f"server {version}, this {__version__}")
    yield Finding("database", "ok", one_line(status.get("database")))
    executions = status.get("executions")
    if isinstance(executions, Mapping):
        counts = ", ".join(f"{number(count)} {one_line(name)}" for name, count in executions.items())
        yield Finding("executions", "ok", counts or "none")
    due = status.get("due_workers")
    if due:
        yield Finding("workers", "ok", f"{number(due)} due")
    undelivered = status.get("undelivered_batches")
    if undelivered:
        yield Finding(
            "imports", "warning", f"{number(undelivered)} batches not yet delivered: orchestrator import list"
        )
