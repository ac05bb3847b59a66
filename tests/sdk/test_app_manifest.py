"""The manifest that is generated from the code."""

from datetime import timedelta
from typing import Any

import pytest

from app_sdk import App, Context, Done, ManifestError
from app_sdk.protocol.manifest import read_manifest

ENDPOINT = "http://127.0.0.1:8001/webhook"


def task(ctx: Context) -> Done:
    """Imports everything.

    And more.
    """
    return Done()


def entry_of(**options: Any) -> dict[str, Any]:
    app = App("app_x", "X", webhook_endpoint=ENDPOINT)
    app.task("big_import", **options)(task)
    [entry] = app.manifest()["tasks"]
    assert isinstance(entry, dict)
    return entry


def test_an_app_with_a_plain_task() -> None:
    app = App("app_x", "X", webhook_endpoint=ENDPOINT)
    app.task("big_import")(task)
    assert app.manifest() == {
        "id": "app_x",
        "name": "X",
        "webhook_endpoint": ENDPOINT,
        "tasks": [
            {
                "id": "app_x_big_import",
                "name": "Big import",
                "description": "Imports everything.",
                "is_cron": False,
            }
        ],
    }


def test_what_the_app_says_about_itself() -> None:
    app = App(
        "appx_x",
        "X",
        version="1.2.0",
        description="An app",
        max_concurrent_calls=5,
        rate_limit={"calls": 10, "per_secs": 1},
        verify_tls=False,
        extra={"icon_url": "https://example.com/x.png"},
    )
    manifest = app.manifest(ENDPOINT)
    assert manifest == {
        "id": "appx_x",
        "name": "X",
        "webhook_endpoint": ENDPOINT,
        "version": "1.2.0",
        "description": "An app",
        "max_concurrent_calls": 5,
        "rate_limit": {"calls": 10, "per_secs": 1},
        "verify_tls": False,
        "icon_url": "https://example.com/x.png",
        "tasks": [],
    }
    assert read_manifest(manifest).max_concurrent_calls == 5


def test_the_endpoint_may_be_given_late() -> None:
    app = App("app_x", "X", webhook_endpoint=ENDPOINT)
    app.task("import")(task)
    assert (
        app.manifest("https://elsewhere.example.com/hook")["webhook_endpoint"] == "https://elsewhere.example.com/hook"
    )


@pytest.mark.parametrize(
    ("options", "recurrence"),
    [
        ({}, {"is_cron": False}),
        ({"every": timedelta(minutes=5)}, {"is_cron": True, "minutes_interval": 5}),
        ({"every": 3600}, {"is_cron": True, "minutes_interval": 60}),
        ({"every": 30}, {"is_cron": True, "schedule": {"interval_secs": 30.0}}),
        ({"every": timedelta(seconds=90)}, {"is_cron": True, "schedule": {"interval_secs": 90.0}}),
        (
            {"every": timedelta(minutes=5), "jitter": 10, "catch_up": "none"},
            {"is_cron": True, "schedule": {"interval_secs": 300.0, "jitter_secs": 10.0, "catch_up": "none"}},
        ),
        ({"cron": "0 6 * * 1"}, {"is_cron": True, "schedule": {"cron": "0 6 * * 1"}}),
        (
            {"cron": "0 6 * * 1", "timezone": "Europe/Paris"},
            {"is_cron": True, "schedule": {"cron": "0 6 * * 1", "timezone": "Europe/Paris"}},
        ),
    ],
)
def test_a_schedule_in_code_is_one_in_the_manifest(options: dict[str, Any], recurrence: dict[str, Any]) -> None:
    entry = entry_of(**options)
    assert {key: entry[key] for key in ("is_cron", "minutes_interval", "schedule") if key in entry} == recurrence


def test_every_other_option_is_said() -> None:
    options: dict[str, Any] = {
        "description": "Other words",
        "aliases": ["pkg.tasks.big"],
        "on_multiple_exec": "abort_existing",
        "retry": {"max_retries": 3},
        "delivery": "at_most_once",
        "on_worker_failure": "continue",
        "is_async": True,
        "on_events": ["core.task.#.failure.v1"],
    }
    entry = entry_of(name="Another name", max_duration=timedelta(hours=1), **options)
    assert entry == options | {
        "id": "app_x_big_import",
        "name": "Another name",
        "is_cron": False,
        "max_duration_secs": 3600.0,
    }


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"every": 60, "cron": "* * * * *"}, "not both"),
        ({"every": -1}, "0 seconds or more"),
        ({"every": 0}, r"\$\.tasks\[0\]\.schedule\.interval_secs"),
        ({"cron": "daily"}, "five fields"),
        ({"timezone": "Europe/Paris"}, "timezone need every= or cron="),
        ({"every": 30, "timezone": "Europe/Paris"}, "intervals run in UTC"),
        ({"on_multiple_exec": "queue"}, "on_multiple_exec"),
        ({"catch_up": "all", "every": 30}, "catch_up all needs on_multiple_exec allow"),
        ({"retry": {"max_retries": -1}}, "max_retries"),
    ],
)
def test_a_wrong_option_is_refused_where_it_is_written(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        App("app_x", "X").task("import", **options)(task)


def test_a_task_is_registered_once() -> None:
    app = App("app_x", "X")
    app.task("import")(task)
    with pytest.raises(ValueError, match="already has a task 'import'"):
        app.task("import")(task)


def test_a_manifest_needs_an_endpoint_and_a_proper_id() -> None:
    app = App("app_x", "X")
    app.task("import")(task)
    with pytest.raises(ManifestError, match=r"\$\.webhook_endpoint"):
        app.manifest()
    with pytest.raises(ManifestError, match="write app_ or appx_"):
        App("hello", "Hello").manifest(ENDPOINT)


def test_the_decorated_function_can_still_be_called() -> None:
    assert App("app_x", "X").task("import")(task) is task
