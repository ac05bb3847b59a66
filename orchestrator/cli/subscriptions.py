"""`orchestrator subscription`: who is told when executions end."""

from typing import Annotated

import typer

from orchestrator.cli.api_client import ApiClient
from orchestrator.cli.connecting import remote
from orchestrator.cli.documents import read_time
from orchestrator.cli.formats import JsonObject, clean, number, when
from orchestrator.cli.options import CursorOption, JsonOption, LimitOption, YesOption
from orchestrator.cli.printing import Column, confirm, print_json, print_list, print_record, say, status

app = typer.Typer(no_args_is_help=True, help="Tell an endpoint when executions end.")

SubscriptionArgument = Annotated[str, typer.Argument(metavar="ID", help="The subscription's id.", show_default=False)]

_COLUMNS = (
    Column("subscription", lambda row: clean(row.get("id"))),
    Column("pattern", lambda row: clean(row.get("pattern"))),
    Column("target", lambda row: clean(row.get("target_url") or row.get("task_id"))),
    Column("status", lambda row: status(row.get("status"))),
    Column("failures", lambda row: number(row.get("failures")), is_number=True),
    Column("reason", lambda row: clean(row.get("status_reason")), is_prose=True),
)
_DELIVERY_COLUMNS = (
    Column("seq", lambda row: number(row.get("seq")), is_number=True),
    Column("event", lambda row: clean(row.get("type"))),
    Column("execution", lambda row: clean(row.get("execution_id"))),
    Column("status", lambda row: status(row.get("status"))),
    Column("tries", lambda row: number(row.get("tries")), is_number=True),
    Column("due", lambda row: when(row.get("due_at"))),
    Column("message", lambda row: clean(row.get("message")), is_prose=True),
)


@app.command("create")
@remote
def create(
    api: ApiClient,
    target_url: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent to.", show_default=False)],
    pattern: Annotated[
        str, typer.Option(help="Which: dotted words, * for one word, # for any number of them.")
    ] = "core.task.#",
    secret: Annotated[
        str | None,
        typer.Option(
            help="What they are signed with (whsec_…); else one is made. A broker's: its password.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Subscribe an endpoint; the secret that its events are signed with is shown once."""
    body: JsonObject = {"target_url": target_url, "pattern": pattern}
    if secret is not None:
        body["secret"] = secret
    made = api.post("v1", "subscriptions", body=body)
    if as_json:
        print_json(made)
        return
    print_record("subscription", {key: clean(made.get(key)) for key in ("id", "pattern", "target_url")})
    if made.get("kind") != "amqp":
        say(f"Secret, shown this once: {made.get('secret')}")


@app.command("list")
@remote
def list_subscriptions(
    api: ApiClient, limit: LimitOption = 50, cursor: CursorOption = None, as_json: JsonOption = False
) -> None:
    """List the subscriptions, and how they fare."""
    page = api.collect("v1", "subscriptions", limit=limit, cursor=cursor)
    empty = "No subscriptions. Make one: orchestrator subscription create URL"
    print_list(page, _COLUMNS, as_json=as_json, empty=empty)


@app.command("show")
@remote
def show(api: ApiClient, id_: SubscriptionArgument, as_json: JsonOption = False) -> None:
    """Show how a subscription fares."""
    _print(api.get("v1", "subscriptions", id_), as_json=as_json)


@app.command("pause")
@remote
def pause(api: ApiClient, id_: SubscriptionArgument, as_json: JsonOption = False) -> None:
    """Send nothing; events are noted, and sent when it goes on."""
    _print(api.patch("v1", "subscriptions", id_, body={"status": "paused"}), as_json=as_json)


@app.command("resume")
@remote
def resume(api: ApiClient, id_: SubscriptionArgument, as_json: JsonOption = False) -> None:
    """Let a subscription go on, and send at once what was noted."""
    _print(api.patch("v1", "subscriptions", id_, body={"status": "active"}), as_json=as_json)


@app.command("delete")
@remote
def delete(api: ApiClient, id_: SubscriptionArgument, yes: YesOption = False) -> None:
    """Delete a subscription; what it was not sent yet is not sent."""
    confirm(f"Delete {id_}?", yes=yes, what="What a subscription was not sent yet is lost with it")
    api.delete("v1", "subscriptions", id_)
    say(f"Deleted {id_}.")


@app.command("replay")
@remote
def replay(  # noqa: PLR0913 - an option each
    api: ApiClient,
    id_: SubscriptionArgument,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Those of this time, or later.", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Those before this time.", show_default=False)
    ] = None,
    after: Annotated[int, typer.Option(min=0, help="Those with a higher number than this.")] = 0,
    only_failed: Annotated[bool, typer.Option("--failed", help="Those only that were given up.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send events again, with the ids that they had: all that are kept and match, or a part of them."""
    body: JsonObject = {"only_failed": only_failed}
    if since is not None:
        body["since"] = read_time(since)
    if until is not None:
        body["until"] = read_time(until)
    sent = 0
    place: object = after
    while place is not None:
        answer = api.post("v1", "subscriptions", id_, "replay", body={**body, "after": place})
        sent += _whole(answer.get("deliveries"))
        place = answer.get("next_after")
    if as_json:
        print_json({"deliveries": sent})
    else:
        say(f"{sent:,} events are on their way again.")


@app.command("deliveries")
@remote
def deliveries(
    api: ApiClient,
    id_: SubscriptionArgument,
    status_: Annotated[
        str | None, typer.Option("--status", help="pending, delivered or failed.", show_default=False)
    ] = None,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what became of the events of a subscription, the newest first."""
    page = api.collect("v1", "subscriptions", id_, "deliveries", limit=limit, cursor=cursor, query={"status": status_})
    print_list(page, _DELIVERY_COLUMNS, as_json=as_json, empty="No events yet.")


def _print(found: JsonObject, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    plain = ("id", "pattern", "target_url", "task_id")
    print_record(
        "subscription",
        {
            **{key: clean(found.get(key)) for key in plain},
            "status": status(found.get("status")),
            "reason": clean(found.get("status_reason")),
            "to be sent": number(found.get("pending")),
            "failures": number(found.get("failures")),
            "failing since": when(found.get("failing_since")),
            "next try": when(found.get("retry_at")),
        },
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
