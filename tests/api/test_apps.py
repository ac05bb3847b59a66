from orchestrator.api.shapes import apps as shapes
from tests.api.doors import Api, a_manifest, a_task, accepted, conforms, fields, refused


async def test_an_app_is_installed_with_its_tasks_and_told_its_secret_once(api: Api) -> None:
    response = await api.admin.post("/v1/apps", json={"manifest": a_manifest()})
    app = accepted(response, 201)
    conforms(shapes.AppWithSecret, app)
    assert response.headers["location"] == "/v1/apps/app_shop"
    assert app["secret_key"].startswith("whsec_")
    assert (app["status"], app["version"], app["tasks"]) == ("active", "1.2.0", ["app_shop_sync"])
    shown = accepted(await api.admin.get("/v1/apps/app_shop"))
    conforms(shapes.App, shown)
    assert shown == {name: value for name, value in app.items() if name != "secret_key"}
    assert len(api.wakes) == 1


async def test_unknown_keys_of_a_manifest_are_kept_and_shown(api: Api) -> None:
    await api.install("app_shop", icon_url="https://x/i.png", data_hooks=[{"id": "h", "n": 2**63}])
    manifest = accepted(await api.admin.get("/v1/apps/app_shop"))["manifest"]
    assert manifest["icon_url"] == "https://x/i.png"
    assert manifest["data_hooks"] == [{"id": "h", "n": 2**63}]


async def test_limits_and_rates_are_shown(api: Api) -> None:
    app = await api.install("app_shop", max_concurrent_calls=3, rate_limit={"calls": 10, "per_secs": 60})
    assert (app["max_concurrent_calls"], app["rate_limit"]) == (3, {"calls": 10, "per_secs": 60.0})


async def test_an_app_can_be_installed_without_being_activated(api: Api) -> None:
    body = {"manifest": a_manifest(), "activate": False, "secret_key": "my own"}
    app = accepted(await api.admin.post("/v1/apps", json=body), 201)
    assert (app["status"], app["secret_key"]) == ("initializing", "my own")
    problem = refused(await api.admin.post("/v1/executions", json={"task_id": "app_shop_sync"}), 409, "conflict")
    assert "initializing" in problem["detail"]
    assert problem["app_id"] == "app_shop"


async def test_an_app_is_installed_only_once(api: Api) -> None:
    await api.install()
    problem = refused(await api.admin.post("/v1/apps", json={"manifest": a_manifest()}), 409, "conflict")
    assert "PUT /v1/apps/app_shop" in problem["detail"]


async def test_every_problem_of_a_manifest_is_named_with_its_path(api_on_sqlite: Api) -> None:
    manifest = {**a_manifest(), "id": "shop", "max_concurrent_calls": 0}
    problem = refused(await api_on_sqlite.admin.post("/v1/apps", json={"manifest": manifest}), 422, "invalid")
    assert set(fields(problem)) == {"$.manifest.id", "$.manifest.max_concurrent_calls"}


async def test_apps_are_listed_by_id_page_by_page(api: Api) -> None:
    for name in ("app_c", "app_a", "app_b"):
        await api.install(name)
    first = accepted(await api.admin.get("/v1/apps", params={"limit": 2}))
    second = accepted(await api.admin.get("/v1/apps", params={"limit": 2, "cursor": first["next_cursor"]}))
    assert [app["id"] for app in first["items"] + second["items"]] == ["app_a", "app_b", "app_c"]
    assert second["next_cursor"] is None
    conforms(shapes.App, first["items"][0])


async def test_a_new_manifest_takes_the_place_of_the_old_one(api: Api) -> None:
    await api.install()
    changed = {**a_manifest("app_shop", a_task("app_shop_other")), "version": "2"}
    app = accepted(await api.admin.put("/v1/apps/app_shop", json={"manifest": changed}))
    assert (app["version"], app["tasks"]) == ("2", ["app_shop_other"])
    other = {**changed, "id": "app_else", "tasks": []}
    problem = refused(await api.admin.put("/v1/apps/app_shop", json={"manifest": other}), 422, "invalid")
    assert fields(problem) == ["manifest.id"]
    refused(await api.admin.put("/v1/apps/app_else", json={"manifest": other}), 404, "not-found")


async def test_an_app_with_a_live_execution_is_not_deleted(api: Api) -> None:
    await api.install()
    execution = await api.launch()
    problem = refused(await api.admin.delete("/v1/apps/app_shop"), 409, "conflict")
    assert problem["execution_id"] == execution["id"]
    accepted(await api.admin.post(f"/v1/executions/{execution['id']}/abort"))
    response = await api.admin.delete("/v1/apps/app_shop")
    assert (response.status_code, response.content) == (204, b"")
    refused(await api.admin.get("/v1/apps/app_shop"), 404, "not-found")
    kept = accepted(await api.admin.get(f"/v1/executions/{execution['id']}"))
    assert kept["app_id"] == "app_shop"
    listed = accepted(await api.admin.get("/v1/executions", params={"app_id": "app_shop"}))
    assert [one["id"] for one in listed["items"]] == [execution["id"]]


async def test_a_stopped_app_takes_no_launch_until_it_is_activated(api: Api) -> None:
    await api.install()
    app = accepted(await api.admin.post("/v1/apps/app_shop/stop", json={"reason": "the shop is closed"}))
    assert (app["status"], app["status_reason"]) == ("stopped", "the shop is closed")
    problem = refused(await api.admin.post("/v1/executions", json={"task_id": "app_shop_sync"}), 409, "conflict")
    assert "the shop is closed" in problem["detail"]
    assert "activate" in problem["detail"]
    woken = len(api.wakes)
    app = accepted(await api.admin.post("/v1/apps/app_shop/activate"))
    assert (app["status"], app["status_reason"], len(api.wakes)) == ("active", None, woken + 1)
    await api.launch()
    app = accepted(await api.admin.post("/v1/apps/app_shop/stop"))
    assert app["status_reason"] == "stopped by first admin"


async def test_a_rotated_secret_is_told_once(api: Api) -> None:
    before = (await api.install())["secret_key"]
    rotated = accepted(await api.admin.post("/v1/apps/app_shop/rotate-secret"))
    conforms(shapes.AppWithSecret, rotated)
    assert rotated["secret_key"].startswith("whsec_")
    assert rotated["secret_key"] != before
    chosen = accepted(await api.admin.post("/v1/apps/app_shop/rotate-secret", json={"secret_key": "s"}))
    assert chosen["secret_key"] == "s"


async def test_the_state_is_changed_by_mutations_all_together_or_not_at_all(api: Api) -> None:
    await api.install()
    mutations = [
        {"operation": "set", "key": "z", "value": {"deep": [1, None]}},
        {"operation": "increment", "key": "n", "value": 2},
        {"operation": "set", "key": "gone", "value": None},
        {"operation": "delete", "key": "gone"},
    ]
    changed = accepted(await api.admin.patch("/v1/apps/app_shop/state", json={"mutations": mutations}))
    assert changed == {"state": {"z": {"deep": [1, None]}, "n": 2}}
    assert accepted(await api.admin.get("/v1/apps/app_shop/state")) == changed
    conforms(shapes.AppState, changed)
    bad = [
        {"operation": "set", "key": "n", "value": 9},
        {"operation": "increment", "key": "z", "value": 1},
    ]
    problem = refused(await api.admin.patch("/v1/apps/app_shop/state", json={"mutations": bad}), 422, "state-refused")
    assert problem["key"] == "z"
    assert accepted(await api.admin.get("/v1/apps/app_shop/state")) == changed


async def test_a_state_over_its_limit_is_refused(api: Api) -> None:
    await api.install()
    mutations = [{"operation": "set", "key": "wide", "value": "x" * 5000}]
    problem = refused(
        await api.admin.patch("/v1/apps/app_shop/state", json={"mutations": mutations}), 422, "state-refused"
    )
    assert "4,096" in problem["detail"]


async def test_a_mutation_without_what_it_needs_is_refused(api_on_sqlite: Api) -> None:
    await api_on_sqlite.install()
    for mutation in (
        {"operation": "set", "key": "a"},
        {"operation": "increment", "key": "a", "value": True},
        {"operation": "add", "key": "a", "value": 1},
        {"operation": "set", "value": 1},
    ):
        body = {"mutations": [mutation]}
        problem = refused(await api_on_sqlite.admin.patch("/v1/apps/app_shop/state", json=body), 422, "invalid")
        assert fields(problem)[0].startswith("$.mutations[0]")


async def test_an_unknown_app_is_not_found(api_on_sqlite: Api) -> None:
    admin = api_on_sqlite.admin
    for response in (
        await admin.get("/v1/apps/app_no"),
        await admin.delete("/v1/apps/app_no"),
        await admin.post("/v1/apps/app_no/activate"),
        await admin.post("/v1/apps/app_no/stop"),
        await admin.post("/v1/apps/app_no/rotate-secret"),
        await admin.get("/v1/apps/app_no/state"),
        await admin.get("/v1/apps/app_no/tasks"),
        await admin.patch("/v1/apps/app_no/state", json={"mutations": [{"operation": "delete", "key": "a"}]}),
    ):
        refused(response, 404, "not-found")


async def test_what_is_no_schema_is_refused_at_the_install_and_at_an_update(api: Api) -> None:
    sound = a_manifest("app_shop", a_task("app_shop_sync", input_schema={"type": "object"}))
    manifest = a_manifest("app_shop", a_task("app_shop_sync", input_schema={"type": "wish"}))
    answer = await api.admin.post("/v1/apps", json={"manifest": manifest})
    assert fields(refused(answer, 422, "invalid")) == ["$.manifest.tasks[0].input_schema.type"]
    accepted(await api.admin.post("/v1/apps", json={"manifest": sound}), 201)
    answer = await api.admin.put("/v1/apps/app_shop", json={"manifest": manifest})
    assert fields(refused(answer, 422, "invalid")) == ["$.manifest.tasks[0].input_schema.type"]
    assert accepted(await api.admin.get("/v1/apps/app_shop"))["manifest"] == sound
