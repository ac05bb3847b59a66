from orchestrator.api.shapes import tokens as shapes
from tests.api.doors import Api, a_manifest, accepted, conforms, fields, refused


async def test_an_admin_of_default_makes_a_workspace_and_lets_people_in(api: Api) -> None:
    made = accepted(await api.admin.post("/v1/workspaces", json={"id": "acme", "name": "Acme"}), 201)
    conforms(shapes.Workspace, made)
    listed = accepted(await api.admin.get("/v1/workspaces"))["items"]
    assert [workspace["id"] for workspace in listed] == ["acme", "default"]
    body = {"name": "first", "role": "admin", "workspace_id": "acme"}
    token = accepted(await api.admin.post("/v1/tokens", json=body), 201)
    client = await api.client(token["token"])
    own = accepted(await client.get("/v1/workspaces"))["items"]
    assert [workspace["id"] for workspace in own] == ["acme"]
    listed = accepted(await api.admin.get("/v1/tokens", params={"workspace_id": "acme"}))["items"]
    assert [one["id"] for one in listed] == [token["id"]]
    refused(await api.admin.post("/v1/workspaces", json={"id": "acme", "name": "Acme"}), 409, "conflict")
    problem = refused(await api.admin.post("/v1/workspaces", json={"id": "a/b", "name": "x"}), 422, "invalid")
    assert fields(problem) == ["id"]


async def test_workspaces_are_listed_page_by_page(api: Api) -> None:
    for name in ("b", "a"):
        accepted(await api.admin.post("/v1/workspaces", json={"id": name, "name": name}), 201)
    first = accepted(await api.admin.get("/v1/workspaces", params={"limit": 1}))
    second = accepted(await api.admin.get("/v1/workspaces", params={"cursor": first["next_cursor"]}))
    assert [workspace["id"] for workspace in first["items"] + second["items"]] == ["a", "b", "default"]


async def test_the_secret_is_shown_and_rotated(api: Api) -> None:
    shown = accepted(await api.admin.get("/v1/workspaces/default/secret"))
    conforms(shapes.WorkspaceSecret, shown)
    assert shown["secret"].startswith("whsec_")
    rotated = accepted(await api.admin.post("/v1/workspaces/default/rotate-secret"))
    conforms(shapes.WorkspaceSecret, rotated)
    assert rotated["secret"] != shown["secret"]
    assert accepted(await api.admin.get("/v1/workspaces/default/secret")) == rotated


async def test_for_everybody_else_another_workspace_does_not_exist(api: Api) -> None:
    other = await api.other_workspace()
    refused(await other.get("/v1/workspaces/default/secret"), 404, "not-found")
    refused(await other.post("/v1/workspaces/default/rotate-secret"), 404, "not-found")
    refused(await other.post("/v1/workspaces", json={"id": "third", "name": "x"}), 403, "forbidden")
    body = {"name": "x", "role": "admin", "workspace_id": "default"}
    refused(await other.post("/v1/tokens", json=body), 404, "not-found")
    refused(await other.get("/v1/tokens", params={"workspace_id": "default"}), 404, "not-found")
    refused(await api.admin.get("/v1/tokens", params={"workspace_id": "no"}), 404, "not-found")
    refused(await api.admin.get("/v1/workspaces/no/secret"), 404, "not-found")


async def test_what_belongs_to_another_workspace_does_not_exist(api: Api) -> None:
    await api.install()
    execution = await api.launch(id="mine")
    batch_token = accepted(await api.admin.get("/v1/tokens"))["items"][0]["id"]
    other = await api.other_workspace()
    path = "/v1/executions/mine"
    for response in (
        await other.get("/v1/apps/app_shop"),
        await other.get("/v1/apps/app_shop/state"),
        await other.get("/v1/apps/app_shop/tasks"),
        await other.get("/v1/apps/app_shop/tasks/app_shop_sync"),
        await other.post("/v1/apps/app_shop/tasks/app_shop_sync/run"),
        await other.post("/v1/apps/app_shop/stop"),
        await other.delete("/v1/apps/app_shop"),
        await other.put("/v1/apps/app_shop", json={"manifest": a_manifest()}),
        await other.post("/v1/executions", json={"task_id": "app_shop_sync"}),
        await other.get(path),
        await other.patch(path, json={"subtext": "x"}),
        await other.post(f"{path}/abort"),
        await other.post(f"{path}/retry"),
        await other.get(f"{path}/calls"),
        await other.get(f"{path}/logs"),
        await other.get(f"{path}/events"),
        await other.delete(f"/v1/tokens/{batch_token}"),
        await other.get("/v1/import-batches", params={"execution_id": "mine"}),
    ):
        refused(response, 404, "not-found")
    for listing in ("/v1/apps", "/v1/executions", "/v1/import-batches", "/collector/items"):
        assert accepted(await other.get(listing))["items"] == []
    assert accepted(await other.get("/v1/status"))["executions"]["running"] == 0
    assert accepted(await api.admin.get(path))["status"] == execution["status"]


async def test_each_workspace_has_ids_and_numbers_of_its_own(api: Api) -> None:
    await api.install()
    await api.launch(id="mine")
    other = await api.other_workspace()
    accepted(await other.post("/v1/apps", json={"manifest": a_manifest()}), 201)
    body = {"task_id": "app_shop_sync", "id": "mine"}
    execution = accepted(await other.post("/v1/executions", json=body), 201)
    assert (execution["workspace_id"], execution["id"], execution["number"]) == ("other", "mine", 1)
