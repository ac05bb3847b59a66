"""Workers register the tasks that they run: an app of its own, added to, brought up to date, and by whom."""

import asyncio
from functools import reduce

import pytest

from orchestrator.store import lookups
from orchestrator.store.dialect import Dialect
from tests.api.doors import Api, Json, a_manifest, accepted, fields, refused

APP = "app_crm"
DEEP: Json = reduce(lambda inner, _: {"n": inner}, range(66), {})


def an_entry(name: str = "crm.tasks.enrich", **more: object) -> Json:
    entry: Json = {"id": f"{APP}_{name}", "name": name, "aliases": [name], "transport": "pull"}
    return {**entry, "on_multiple_exec": "allow", **more}


async def registered(api: Api, *entries: Json) -> Json:
    return accepted(await api.admin.put(f"/v1/apps/{APP}/tasks", json={"tasks": list(entries)}))


async def versions(api: Api, name: str = "crm.tasks.enrich") -> int:
    [(count,)] = await api.read(
        lambda tx: tx.rows(
            "SELECT count(*) FROM task_versions v JOIN task_definitions t ON t.pk = v.task_pk WHERE t.id = :id",
            id=f"{APP}_{name}",
        )
    )
    return int(count)


async def test_an_app_is_made_and_added_to(api: Api) -> None:
    first = await registered(api, an_entry())
    assert first == {"app_id": APP, "task_ids": [f"{APP}_crm.tasks.enrich"], "changed": True}
    app = accepted(await api.admin.get(f"/v1/apps/{APP}"))
    assert (app["status"], app["manifest"]["tasks"]) == ("active", [an_entry()])
    assert api.wakes

    second = await registered(api, an_entry("crm.tasks.report"))
    assert second["task_ids"] == [f"{APP}_crm.tasks.report"]
    shown = accepted(await api.admin.get(f"/v1/apps/{APP}/tasks"))["items"]
    assert [task["id"] for task in shown] == [f"{APP}_crm.tasks.enrich", f"{APP}_crm.tasks.report"], "the others stay"
    launched = accepted(await api.admin.post("/v1/executions", json={"task_id": "crm.tasks.enrich"}), 201)
    assert (launched["task_id"], launched["application"]) == (f"{APP}_crm.tasks.enrich", APP)


async def test_the_same_again_changes_nothing_and_another_makes_a_version(api: Api) -> None:
    await registered(api, an_entry(), an_entry("crm.tasks.report"))
    again = await registered(api, an_entry())
    assert not again["changed"]
    assert await versions(api) == 1
    updated = await registered(api, an_entry(description="better"))
    assert updated["changed"]
    assert (await versions(api), await versions(api, "crm.tasks.report")) == (2, 1)


async def test_a_stopped_app_stays_stopped(api: Api) -> None:
    await registered(api, an_entry())
    accepted(await api.admin.post(f"/v1/apps/{APP}/stop"))
    await registered(api, an_entry(), an_entry("crm.tasks.report"))
    assert accepted(await api.admin.get(f"/v1/apps/{APP}"))["status"] == "stopped"


async def test_workers_that_register_together_lose_nothing(api: Api) -> None:
    names = [f"crm.tasks.task_{number}" for number in range(12)]
    await asyncio.gather(*(registered(api, an_entry(name)) for name in names))
    app = accepted(await api.admin.get(f"/v1/apps/{APP}"))
    assert sorted(task["name"] for task in app["manifest"]["tasks"]) == sorted(names)


async def test_one_that_another_has_made_since_it_was_looked_for_is_added_to(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    if api.context.database.dialect is Dialect.SQLITE:
        pytest.skip("there is one writer, and nobody comes in between")
    await registered(api, an_entry())
    look, too_early = lookups.app_pk, [None]
    monkeypatch.setattr(lookups, "app_pk", lambda *args: too_early.pop() if too_early else look(*args))
    await registered(api, an_entry("crm.tasks.report"))
    assert not too_early
    app = accepted(await api.admin.get(f"/v1/apps/{APP}"))
    assert [task["name"] for task in app["manifest"]["tasks"]] == ["crm.tasks.enrich", "crm.tasks.report"]


async def test_an_executor_registers_what_its_token_names(api: Api) -> None:
    made = {"name": "worker", "role": "executor", "tasks": ["crm.tasks.enrich"]}
    client = await api.client(accepted(await api.admin.post("/v1/tokens", json=made), 201)["token"])
    path = f"/v1/apps/{APP}/tasks"
    accepted(await client.put(path, json={"tasks": [an_entry()]}))
    for foreign in (
        an_entry("crm.tasks.report"),
        an_entry(aliases=["crm.tasks.enrich", "crm.tasks.report"]),
        an_entry(id=f"{APP}_other"),
    ):
        refusal = refused(await client.put(path, json={"tasks": [foreign]}), 403, "forbidden")
        assert "this token is not for" in refusal["detail"]
    app = accepted(await api.admin.get(f"/v1/apps/{APP}"))
    assert app["manifest"]["tasks"] == [an_entry()]


async def test_an_executor_whose_token_names_nothing_registers_nothing(api: Api) -> None:
    client = await api.as_role("executor")
    answer = await client.put(f"/v1/apps/{APP}/tasks", json={"tasks": [an_entry()]})
    assert "names no tasks" in refused(answer, 403, "forbidden")["detail"]


async def test_who_hears_of_events_is_an_admins_word(api: Api) -> None:
    handler = an_entry(on_events=["core.task.crm.#.failure.v1"])
    made = {"name": "worker", "role": "executor", "tasks": ["crm.tasks.enrich"]}
    client = await api.client(accepted(await api.admin.post("/v1/tokens", json=made), 201)["token"])
    path = f"/v1/apps/{APP}/tasks"
    refused(await client.put(path, json={"tasks": [handler]}), 403, "forbidden")
    await registered(api, handler)
    accepted(await client.put(path, json={"tasks": [{**handler, "description": "better"}]}))
    for patterns in (["#"], [*handler["on_events"], "core.task.#"]):
        refused(await client.put(path, json={"tasks": [{**handler, "on_events": patterns}]}), 403, "forbidden")
    accepted(await client.put(path, json={"tasks": [an_entry()]}))


async def test_an_apps_token_registers_for_its_own_app_only(api: Api) -> None:
    await api.install("app_shop")
    await registered(api, an_entry())
    client = await api.as_role("app", APP)
    accepted(await client.put(f"/v1/apps/{APP}/tasks", json={"tasks": [an_entry(description="better")]}))
    for other in ("app_shop", "app_new"):
        entry = {**an_entry(), "id": f"{other}_x", "aliases": []}
        refused(await client.put(f"/v1/apps/{other}/tasks", json={"tasks": [entry]}), 404, "not-found")


async def test_an_app_with_a_webhook_has_its_manifest_for_that(api: Api) -> None:
    await api.install("app_shop")
    entry = {**an_entry(), "id": "app_shop_more"}
    refused(await api.admin.put("/v1/apps/app_shop/tasks", json={"tasks": [entry]}), 409, "conflict")
    webhook = {**an_entry(), "transport": "webhook"}
    refused(await api.admin.put(f"/v1/apps/{APP}/tasks", json={"tasks": [webhook]}), 422, "invalid")
    assert accepted(await api.admin.get("/v1/apps"))["items"][0]["manifest"] == a_manifest("app_shop")


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"id": "other_x"}, "$.manifest.tasks[0].id"),
        ({"schedule": {"cron": "* * * * *", "state": DEEP}}, "$.manifest.tasks[0].schedule.state"),
        ({"inProgressTimeout": 0}, "$.manifest.tasks[0].inProgressTimeout"),
        ({"input_schema": {"type": "nothing"}}, "$.manifest.tasks[0].input_schema.type"),
    ],
)
async def test_what_is_wrong_is_named(api: Api, entry: Json, field: str) -> None:
    answer = await api.admin.put(f"/v1/apps/{APP}/tasks", json={"tasks": [an_entry(**entry)]})
    assert fields(refused(answer, 422, "invalid")) == [field]
    refused(await api.admin.get(f"/v1/apps/{APP}"), 404, "not-found")


async def test_an_execution_is_shown_to_its_application_only(api: Api) -> None:
    await registered(api, an_entry())
    asked = {"task_id": "crm.tasks.enrich", "application": "acmé & co"}
    launched = accepted(await api.admin.post("/v1/executions", json=asked), 201)
    path = f"/v1/executions/{launched['id']}"
    assert launched["application"] == "acmé & co"
    assert accepted(await api.admin.get(path, params={"application": "acmé & co"}))["id"] == launched["id"]
    foreign = refused(await api.admin.get(path, params={"application": "another"}), 404, "not-found")
    unknown = refused(await api.admin.get("/v1/executions/x", params={"application": "another"}), 404, "not-found")
    assert foreign["detail"].replace(launched["id"], "x") == unknown["detail"]
    refused(await api.admin.get(path, params={"application": APP}), 404, "not-found")
