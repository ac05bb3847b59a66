"""`orchestrator app`: install an app by its manifest, look at it, start and stop it."""

from typing import Annotated

import typer

from orchestrator.cli.api_client import ApiClient
from orchestrator.cli.app_state import read_mutations
from orchestrator.cli.checking import check_app
from orchestrator.cli.connecting import ConfigOption, TokenOption, UrlOption, remote
from orchestrator.cli.documents import as_object, read_json, read_source
from orchestrator.cli.failures import Misused, Refused
from orchestrator.cli.formats import JsonObject, clean, when
from orchestrator.cli.options import CursorOption, JsonOption, LimitOption, YesOption
from orchestrator.cli.printing import Column, confirm, print_json, print_list, print_record, say, status

app = typer.Typer(no_args_is_help=True, help="Install apps by their manifest; start, stop, look at them.")

AppArgument = Annotated[str, typer.Argument(metavar="APP", help="The app's id.", show_default=False)]

_COLUMNS = (
    Column("app", lambda row: clean(row.get("id"))),
    Column("name", lambda row: clean(row.get("name")), is_prose=True),
    Column("status", lambda row: status(row.get("status"))),
    Column("version", lambda row: clean(row.get("version"))),
    Column("tasks", lambda row: str(len(_task_ids(row))), is_number=True),
    Column("endpoint", lambda row: clean(row.get("webhook_endpoint")), is_prose=True),
)


@app.command("install")
@remote
def install(
    api: ApiClient,
    manifest: Annotated[
        str,
        typer.Argument(metavar="MANIFEST", help="A file, a URL, or - for standard input.", show_default=False),
    ],
    secret_key: Annotated[
        str | None,
        typer.Option(help="The secret the app knows, or @file; else one is made.", show_default=False),
    ] = None,
    activate: Annotated[bool, typer.Option(help="Whether the app may be called at once.")] = True,
    update: Annotated[bool, typer.Option("--update", help="Replace the manifest of an installed app.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Install an app, or with --update give it a new manifest."""
    document = as_object(read_json(read_source(manifest), manifest), manifest)
    if update:
        if secret_key is not None:
            raise Misused("--update leaves the secret alone", "To change it: orchestrator app rotate-secret APP")
        shown = api.put("v1", "apps", str(document.get("id", "")), body={"manifest": document})
    else:
        body: JsonObject = {"manifest": document, "activate": activate}
        if secret_key is not None:
            body["secret_key"] = _secret(secret_key)
        shown = _installed(api, body)
    if as_json:
        print_json(shown)
        return
    _show(shown)
    if not update and secret_key is None:
        _tell_secret(shown)


@app.command("list")
@remote
def list_apps(
    api: ApiClient, limit: LimitOption = 50, cursor: CursorOption = None, as_json: JsonOption = False
) -> None:
    """List the installed apps."""
    page = api.collect("v1", "apps", limit=limit, cursor=cursor)
    print_list(
        page,
        _COLUMNS,
        as_json=as_json,
        empty="No apps yet. Install one: orchestrator app install manifest.json",
    )


@app.command("show")
@remote
def show(api: ApiClient, app_id: AppArgument, as_json: JsonOption = False) -> None:
    """Show an app, its limits and its tasks; with --json its whole manifest too."""
    found = api.get("v1", "apps", app_id)
    if as_json:
        print_json(found)
    else:
        _show(found)


@app.command("check")
def check(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="APP|MANIFEST",
            help="An installed app's id, or a manifest: a file, a URL or -.",
            show_default=False,
        ),
    ],
    as_json: JsonOption = False,
    url: UrlOption = None,
    token: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Check a manifest, and that its webhook endpoint can be reached from here; nothing is called."""
    check_app(subject, url=url, token=token, config=config, as_json=as_json)


@app.command("activate")
@remote
def activate_app(api: ApiClient, app_id: AppArgument) -> None:
    """Let an app be called; its workers go on where they were."""
    _show(api.post("v1", "apps", app_id, "activate"))


@app.command("stop")
@remote
def stop(
    api: ApiClient,
    app_id: AppArgument,
    reason: Annotated[str | None, typer.Option(help="Why; it is shown with the app.", show_default=False)] = None,
) -> None:
    """Stop calling an app; calls in flight end, and nothing is lost."""
    _show(api.post("v1", "apps", app_id, "stop", body={} if reason is None else {"reason": reason}))


@app.command("delete")
@remote
def delete(api: ApiClient, app_id: AppArgument, yes: YesOption = False) -> None:
    """Delete an app with its tasks and its state; its executions stay readable."""
    confirm(f"Delete {app_id} with its tasks and its state?", yes=yes, what="Deleting an app cannot be undone")
    api.delete("v1", "apps", app_id)
    say(f"Deleted {app_id}.")


@app.command("rotate-secret")
@remote
def rotate_secret(api: ApiClient, app_id: AppArgument, as_json: JsonOption = False) -> None:
    """Replace an app's secret key, from the next call on; the new one is shown once."""
    answer = api.post("v1", "apps", app_id, "rotate-secret")
    if as_json:
        print_json(answer)
    else:
        _tell_secret(answer)


@app.command("state")
@remote
def state(
    api: ApiClient,
    app_id: AppArgument,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a key; what is not JSON is text.", show_default=False),
    ] = None,
    delete: Annotated[
        list[str] | None, typer.Option("--delete", metavar="KEY", help="Remove a key.", show_default=False)
    ] = None,
    increment: Annotated[
        list[str] | None,
        typer.Option(
            "--increment",
            metavar="KEY=NUMBER",
            help="Add to a number; a missing one is 0.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print an app's state as JSON, after the changes asked for. They are made together, or not at all."""
    mutations = read_mutations(set_ or [], delete or [], increment or [])
    if mutations:
        answer = api.patch("v1", "apps", app_id, "state", body={"mutations": mutations})
    else:
        answer = api.get("v1", "apps", app_id, "state")
    print_json(answer.get("state"))


def _installed(api: ApiClient, body: JsonObject) -> JsonObject:
    try:
        return api.post("v1", "apps", body=body)
    except Refused as refused:
        if refused.facts.get("status") != 409 or refused.next_steps:
            raise
        raise Refused(
            refused.message, "To give an installed app a new manifest: --update", facts=refused.facts
        ) from None


def _secret(given: str) -> str:
    if not given.startswith("@"):
        return given
    return read_source(given[1:]).decode("utf-8", "replace").strip()


def _show(found: JsonObject) -> None:
    state_and_reason = status(found.get("status"))
    if found.get("status_reason"):
        state_and_reason.append(f" ({clean(found['status_reason'])})", style="")
    print_record(
        clean(found.get("id")),
        {
            "name": clean(found.get("name")),
            "status": state_and_reason,
            "version": clean(found.get("version")),
            "endpoint": clean(found.get("webhook_endpoint")),
            "concurrent calls": clean(found.get("max_concurrent_calls")),
            "rate limit": _rate(found.get("rate_limit")),
            "tasks": "\n".join(_task_ids(found)),
            "installed": when(found.get("created_at")),
            "updated": when(found.get("updated_at")),
        },
    )


def _rate(limit: object) -> str:
    if not isinstance(limit, dict):
        return ""
    return f"{clean(limit.get('calls'))} calls in {clean(limit.get('per_secs'))} s"


def _task_ids(found: JsonObject) -> list[str]:
    tasks = found.get("tasks")
    return [clean(task) for task in tasks] if isinstance(tasks, list) else []


def _tell_secret(answer: JsonObject) -> None:
    secret = answer.get("secret_key")
    if secret:
        say(f"Secret key, shown this once: {clean(secret)}")
        say("The app verifies our calls with it: give it to the app, for instance as APP_SECRET_KEY.")
    else:
        say("The secret key is not shown a second time. For a new one: orchestrator app rotate-secret APP")
