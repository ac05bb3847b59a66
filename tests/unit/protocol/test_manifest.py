"""What a manifest may say, and how it is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_sdk.protocol.cron import cron_problem
from app_sdk.protocol.manifest import ManifestError, ScheduleManifest, TaskManifest, read_manifest

RIMDIAN_LIKE = {
    "id": "appx_shop",
    "name": "Shop connector",
    "homepage": "https://docs.example.com/shop",
    "author": "Example",
    "icon_url": "https://docs.example.com/shop.png",
    "short_description": "Orders of a shop.",
    "description": "Orders of a shop, and the customers behind them.",
    "version": "2.1.0",
    "ui_endpoint": "https://localhost:4000",
    "webhook_endpoint": "https://localhost:4000/hooks",
    "tasks": [
        {
            "id": "appx_shop_orders",
            "name": "Orders",
            "description": "Fetches orders",
            "is_cron": False,
            "on_multiple_exec": "abort_existing",
            "maximum_parallel": 3,
        }
    ],
    "data_hooks": [{"id": "appx_shop_on_user", "on": "on_success", "kind": ["user"], "action": ["create"]}],
    "sql_queries": [{"id": "appx_shop_q", "type": "select", "query": "SELECT 1", "test_args": ["a"]}],
    "extra_columns": [{"kind": "user", "columns": [{"name": "appx_shop_vip", "type": "boolean"}]}],
    "app_tables": [{"name": "appx_shop_orders", "shard_key": ["id"], "columns": [{"name": "id", "type": "varchar"}]}],
}


def manifest(*tasks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    app = {"id": "app_x", "name": "X", "webhook_endpoint": "http://localhost:8001/webhook"}
    return app | {"tasks": [{"id": f"app_x_t{n}", "name": "T"} | task for n, task in enumerate(tasks)]} | changes


def read_task(**fields: Any) -> TaskManifest:
    return read_manifest(manifest(fields)).tasks[0]


def problems_of(document: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(ManifestError) as refusal:
        read_manifest(document)
    assert str(refusal.value) == "; ".join(f"{path}: {problem}" for path, problem in refusal.value.problems)
    return refusal.value.problems


def test_a_manifest_in_the_style_of_rimdian_is_kept_whole() -> None:
    app = read_manifest(json.dumps(RIMDIAN_LIKE).encode())
    assert app.model_dump(exclude_unset=True) == RIMDIAN_LIKE
    assert app.tasks[0].effective_schedule is None
    assert app.tasks[0].on_multiple_exec == "abort_existing"
    assert app.tasks[0].model_extra == {"maximum_parallel": 3}


def test_what_a_manifest_leaves_out_has_defaults() -> None:
    app = read_manifest(manifest({}))
    task = app.tasks[0]
    assert (app.max_concurrent_calls, app.rate_limit, app.verify_tls, app.version) == (20, None, None, None)
    assert (task.on_multiple_exec, task.delivery, task.on_worker_failure) == (
        "discard_new",
        "at_least_once",
        "fail",
    )
    assert (task.max_duration_secs, task.transport, task.is_async, task.aliases) == (
        604_800,
        "webhook",
        False,
        [],
    )
    retry = task.retry
    assert [retry.max_retries, retry.initial_delay_secs, retry.multiplier, retry.max_delay_secs] == [None] * 4


def test_null_means_absent() -> None:
    task = read_task(aliases=None, retry={"max_retries": None, "multiplier": 3}, delivery=None, custom=None)
    assert (task.aliases, task.retry.multiplier, task.delivery) == ([], 3, "at_least_once")
    assert task.model_extra == {"custom": None}


@pytest.mark.parametrize(
    ("fields", "schedule"),
    [
        ({}, None),
        ({"is_cron": False, "minutes_interval": 0}, None),
        ({"is_cron": False, "minutes_interval": 60}, None),
        ({"is_cron": True, "minutes_interval": 5}, ScheduleManifest(interval_secs=300)),
        ({"schedule": {"interval_secs": 0.5}}, ScheduleManifest(interval_secs=0.5)),
        (
            {"is_cron": True, "schedule": {"cron": "0 6 * * mon-fri", "timezone": "Europe/Paris"}},
            ScheduleManifest(cron="0 6 * * mon-fri", timezone="Europe/Paris"),
        ),
    ],
)
def test_the_schedule_of_a_task(fields: dict[str, Any], schedule: ScheduleManifest | None) -> None:
    assert read_task(**fields).effective_schedule == schedule


@pytest.mark.parametrize(
    ("fields", "path", "problem"),
    [
        ({"id": "other_t"}, ".id", "must begin with app_x_"),
        ({"id": "app_x_"}, ".id", "must begin with app_x_"),
        ({"name": ""}, ".name", "at least 1 character"),
        ({"name": None}, ".name", "required"),
        ({"is_cron": "yes"}, ".is_cron", "boolean"),
        ({"is_cron": True}, "", "is_cron needs minutes_interval"),
        ({"is_cron": True, "minutes_interval": 0}, "", "is_cron needs minutes_interval"),
        ({"minutes_interval": -1}, ".minutes_interval", "greater than or equal to 0"),
        ({"is_cron": True, "minutes_interval": 1.5}, ".minutes_interval", "integer"),
        ({"is_cron": False, "schedule": {"interval_secs": 5}}, "", "is_cron is false"),
        ({"is_cron": True, "minutes_interval": 5, "schedule": {"interval_secs": 5}}, "", "not both"),
        ({"schedule": {}}, ".schedule", "give either cron or interval_secs"),
        ({"schedule": {"cron": "* * * * *", "interval_secs": 5}}, ".schedule", "give either"),
        ({"schedule": {"interval_secs": 5, "timezone": "UTC"}}, ".schedule", "intervals run in UTC"),
        ({"schedule": {"interval_secs": 0}}, ".schedule.interval_secs", "greater than or equal to 0.001"),
        ({"schedule": {"interval_secs": 1e300}}, ".schedule.interval_secs", "less than"),
        ({"schedule": {"cron": "* * *"}}, ".schedule.cron", "five fields"),
        ({"schedule": {"cron": "@daily"}}, ".schedule.cron", "five fields"),
        ({"schedule": {"cron": "0 0 * * *", "timezone": "Moon/Base"}}, ".schedule.timezone", "'Moon/Base'"),
        ({"schedule": {"cron": "0 0 * * *", "timezone": "../etc"}}, ".schedule.timezone", "'../etc'"),
        (
            {"schedule": {"interval_secs": 5, "catch_up": "all"}},
            "",
            "catch_up all needs on_multiple_exec allow",
        ),
        (
            {"schedule": {"interval_secs": 5, "catch_up": "some"}},
            ".schedule.catch_up",
            "'latest', 'all' or 'none'",
        ),
        ({"on_multiple_exec": "queue"}, ".on_multiple_exec", "'allow', 'discard_new'"),
        ({"delivery": "exactly_once"}, ".delivery", "'at_least_once'"),
        ({"on_worker_failure": "stop"}, ".on_worker_failure", "'fail'"),
        ({"transport": "push"}, ".transport", "'webhook'"),
        ({"max_duration_secs": 0}, ".max_duration_secs", "greater than 0"),
        ({"retry": {"max_retries": -1}}, ".retry.max_retries", "greater than or equal to 0"),
        ({"retry": {"multiplier": 0.5}}, ".retry.multiplier", "greater than or equal to 1"),
        ({"retry": []}, ".retry", "write a JSON object"),
        ({"aliases": ["a b"]}, ".aliases[0]", "spaces"),
        ({"aliases": ["a:b"]}, ".aliases[0]", "colons"),
        ({"aliases": ["x", "x"]}, ".aliases[1]", "x is taken by $.tasks[0].aliases[0]"),
        ({"aliases": ["app_x_t0"]}, ".aliases[0]", "app_x_t0 is taken by $.tasks[0].id"),
    ],
)
def test_a_wrong_task_is_refused_with_its_path(fields: dict[str, Any], path: str, problem: str) -> None:
    [(found_path, found)] = problems_of(manifest(fields))
    assert found_path == f"$.tasks[0]{path}"
    assert problem in found


@pytest.mark.parametrize(
    ("changes", "path", "problem"),
    [
        ({"id": "shop"}, "$.id", "write app_ or appx_"),
        ({"id": "app_Shop"}, "$.id", "write app_ or appx_"),
        ({"id": "app_x\n"}, "$.id", "write app_ or appx_"),
        ({"name": 5}, "$.name", "string"),
        ({"tasks": {}}, "$.tasks", "list"),
        ({"tasks": [5]}, "$.tasks[0]", "write a JSON object"),
        ({"webhook_endpoint": None}, "$.webhook_endpoint", "needed"),
        ({"webhook_endpoint": "localhost:8001"}, "$.webhook_endpoint", "full URL"),
        ({"webhook_endpoint": "ftp://localhost"}, "$.webhook_endpoint", "full URL"),
        ({"webhook_endpoint": "http://[::1"}, "$.webhook_endpoint", "full URL"),
        ({"webhook_endpoint": "http://a:99999"}, "$.webhook_endpoint", "full URL"),
        ({"webhook_endpoint": "http://a/b c"}, "$.webhook_endpoint", "full URL"),
        ({"max_concurrent_calls": 0}, "$.max_concurrent_calls", "greater than or equal to 1"),
        ({"rate_limit": {"calls": 5}}, "$.rate_limit.per_secs", "required"),
        ({"rate_limit": {"calls": 0, "per_secs": 1}}, "$.rate_limit.calls", "greater than or equal to 1"),
        ({"verify_tls": "no"}, "$.verify_tls", "boolean"),
    ],
)
def test_a_wrong_app_is_refused_with_its_path(changes: dict[str, Any], path: str, problem: str) -> None:
    document = manifest({}, **changes)
    if path == "$.id":
        document["tasks"] = []
    [(found_path, found)] = problems_of(document)
    assert found_path == path
    assert problem in found


def test_every_problem_is_told_at_once() -> None:
    document = manifest({"delivery": "x"}, {"name": ""}, max_concurrent_calls=0)
    assert [path for path, _ in problems_of(document)] == [
        "$.tasks[0].delivery",
        "$.tasks[1].name",
        "$.max_concurrent_calls",
    ]


def test_a_name_belongs_to_one_task() -> None:
    document = manifest({"aliases": ["pkg.tasks.enrich"]}, {"aliases": ["pkg.tasks.enrich"]}, {"id": "app_x_t0"})
    assert problems_of(document) == [
        ("$.tasks[1].aliases[0]", "pkg.tasks.enrich is taken by $.tasks[0].aliases[0]"),
        ("$.tasks[2].id", "app_x_t0 is taken by $.tasks[0].id"),
    ]


def test_only_pull_tasks_need_no_endpoint() -> None:
    assert read_manifest(manifest({"transport": "pull"}, webhook_endpoint=None)).webhook_endpoint is None


def test_catching_up_with_everything_goes_with_allow() -> None:
    task = read_task(schedule={"interval_secs": 5, "catch_up": "all"}, on_multiple_exec="allow")
    assert task.schedule is not None
    assert task.schedule.catch_up == "all"


@pytest.mark.parametrize("text", [b"", b"[]", b"5", b'{"id":"app_x","id":"app_x"}', b"\xff"])
def test_a_text_that_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestError):
        read_manifest(text)


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "*/5 * * * *",
        "0 0 1 1 0",
        "0 0 * * 7",
        "15,45 8-18/2 1-15,31 JAN,jul Mon-Fri",
        " 0  12 * *  mon-sun ",
        "59 23 31 12 6",
    ],
)
def test_a_cron_expression_is_accepted(expression: str) -> None:
    assert cron_problem(expression) is None


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "this one has 0"),
        ("* * * * * *", "this one has 6"),
        ("60 * * * *", "'60' is no value for the minute (0 to 59)"),
        ("* 24 * * *", "'24' is no value for the hour (0 to 23)"),
        ("* * 0 * *", "'0' is no value for the day of month (1 to 31)"),
        ("* * * 13 *", "'13' is no value for the month (1 to 12)"),
        ("* * * * 8", "'8' is no value for the day of week (0 to 7)"),
        ("* * * * jan", "'jan' is no value for the day of week"),
        ("5-1 * * * *", "'5-1' is no value for the minute"),
        ("*/0 * * * *", "'*/0' is no value for the minute"),
        ("1,,2 * * * *", "'1,,2' is no value for the minute"),
        ("-1 * * * *", "'-1' is no value for the minute"),
        ("1- * * * *", "'1-' is no value for the minute"),
        ("\u0661 * * * *", "is no value for the minute"),
        ("? * * * *", "is no value for the minute"),
    ],
)
def test_a_wrong_cron_expression_names_its_field(expression: str, problem: str) -> None:
    assert problem in (cron_problem(expression) or "nothing")


@given(st.text(st.sampled_from("0159*/,- janmon"), max_size=30))
def test_any_cron_expression_is_judged(expression: str) -> None:
    problem = cron_problem(expression)
    assert problem is None or len(problem) > 10
