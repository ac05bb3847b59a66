from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.api.shapes import tokens as shapes
from orchestrator.domain.errors import Invalid
from orchestrator.service import tokens
from tests.api.doors import ADMIN_TOKEN, Api, accepted, conforms, fields, refused


async def test_a_token_is_told_once_and_only_its_hash_is_kept(api: Api) -> None:
    made = accepted(await api.admin.post("/v1/tokens", json={"name": "ci", "role": "operator"}), 201)
    conforms(shapes.TokenWithSecret, made)
    assert made["token"].startswith("orch_")
    assert len(made["token"]) >= len("orch_") + 43
    listed = accepted(await api.admin.get("/v1/tokens"))["items"]
    assert [token["name"] for token in listed] == ["ci", "first admin"]
    assert all("token" not in token for token in listed)
    conforms(shapes.Token, listed[0])
    kept = await api.read(lambda tx: tx.rows("SELECT hash FROM tokens"))
    assert made["token"] not in str(kept)
    accepted(await (await api.client(made["token"])).get("/v1/executions"))


async def test_tokens_are_listed_page_by_page(api: Api) -> None:
    for name in ("a", "b"):
        accepted(await api.admin.post("/v1/tokens", json={"name": name, "role": "viewer"}), 201)
    first = accepted(await api.admin.get("/v1/tokens", params={"limit": 2}))
    rest = accepted(await api.admin.get("/v1/tokens", params={"cursor": first["next_cursor"]}))
    assert [token["name"] for token in first["items"] + rest["items"]] == ["b", "a", "first admin"]


async def test_a_revoked_token_is_nobodys_at_once(api: Api) -> None:
    made = accepted(await api.admin.post("/v1/tokens", json={"name": "ci", "role": "admin"}), 201)
    client = await api.client(made["token"])
    accepted(await client.get("/v1/executions"))
    assert (await api.admin.delete(f"/v1/tokens/{made['id']}")).status_code == 204
    refused(await client.get("/v1/executions"), 401, "unauthenticated")
    # Once is enough, and twice does no harm.
    assert (await api.admin.delete(f"/v1/tokens/{made['id']}")).status_code == 204
    [shown] = [token for token in accepted(await api.admin.get("/v1/tokens"))["items"] if token["name"] == "ci"]
    assert shown["revoked_at"] is not None
    refused(await api.admin.delete("/v1/tokens/tok_no"), 404, "not-found")


async def test_the_last_admin_token_cannot_be_revoked(api: Api) -> None:
    [first] = accepted(await api.admin.get("/v1/tokens"))["items"]
    await api.token("admin")
    # One that has expired does not count.
    await api.write(lambda tx: tx.run("UPDATE tokens SET expires_at = 1 WHERE id <> :id", id=first["id"]))
    refused(await api.admin.delete(f"/v1/tokens/{first['id']}"), 409, "conflict")
    accepted(await api.admin.post("/v1/tokens", json={"name": "second", "role": "admin"}), 201)
    assert (await api.admin.delete(f"/v1/tokens/{first['id']}")).status_code == 204
    refused(await api.admin.get("/v1/tokens"), 401, "unauthenticated")


async def test_the_last_admin_token_that_does_not_expire_cannot_be_revoked(api: Api) -> None:
    [first] = accepted(await api.admin.get("/v1/tokens"))["items"]
    body = {"name": "short", "role": "admin", "expires_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    short, other = [accepted(await api.admin.post("/v1/tokens", json=body), 201)["id"] for _ in range(2)]
    problem = refused(await api.admin.delete(f"/v1/tokens/{first['id']}"), 409, "conflict")
    assert "does not expire" in problem["detail"]
    # Those that do expire may go, and the rule is about live ones only.
    assert (await api.admin.delete(f"/v1/tokens/{short}")).status_code == 204
    lasting = accepted(await api.admin.post("/v1/tokens", json={"name": "second", "role": "admin"}), 201)
    assert (await api.admin.delete(f"/v1/tokens/{lasting['id']}")).status_code == 204
    refused(await api.admin.delete(f"/v1/tokens/{first['id']}"), 409, "conflict")
    assert (await api.admin.delete(f"/v1/tokens/{other}")).status_code == 204


async def test_an_expired_token_is_nobodys(api: Api) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    body = {"name": "short", "role": "viewer", "expires_at": later}
    made = accepted(await api.admin.post("/v1/tokens", json=body), 201)
    client = await api.client(made["token"])
    accepted(await client.get("/v1/executions"))
    await api.write(lambda tx: tx.run("UPDATE tokens SET expires_at = 1 WHERE id = :id", id=made["id"]))
    problem = refused(await client.get("/v1/executions"), 401, "unauthenticated")
    assert "expired" in problem["detail"]


async def test_a_token_that_is_not_sound_names_the_field(api_on_sqlite: Api) -> None:
    await api_on_sqlite.install()
    past = "2020-01-01T00:00:00Z"
    for body, field in (
        ({"name": "x", "role": "root"}, "$.role"),
        ({"name": "", "role": "viewer"}, "$.name"),
        ({"name": "x", "role": "app"}, "app_id"),
        ({"name": "x", "role": "viewer", "app_id": "app_shop"}, "app_id"),
        ({"name": "x", "role": "viewer", "expires_at": past}, "expires_at"),
        ({"name": "x", "role": "viewer", "expires_at": "2020-01-01"}, "$.expires_at"),
    ):
        problem = refused(await api_on_sqlite.admin.post("/v1/tokens", json=body), 422, "invalid")
        assert fields(problem) == [field]
    body = {"name": "x", "role": "app", "app_id": "app_no"}
    refused(await api_on_sqlite.admin.post("/v1/tokens", json=body), 404, "not-found")


async def test_the_token_of_a_deleted_app_is_nobodys(api: Api) -> None:
    await api.install()
    client = await api.as_role("app", "app_shop")
    accepted(await client.get("/v1/executions"))
    assert (await api.admin.delete("/v1/apps/app_shop")).status_code == 204
    await api.install()
    refused(await client.get("/v1/executions"), 401, "unauthenticated")


async def test_the_first_admin_token_is_made_once_and_stays_revoked(api: Api) -> None:
    [first] = accepted(await api.admin.get("/v1/tokens"))["items"]
    await api.context.database.write(tokens.ensure_admin_token, ADMIN_TOKEN)
    assert len(accepted(await api.admin.get("/v1/tokens"))["items"]) == 1
    await api.token("admin")
    assert (await api.admin.delete(f"/v1/tokens/{first['id']}")).status_code == 204
    await api.context.database.write(tokens.ensure_admin_token, ADMIN_TOKEN)
    refused(await api.admin.get("/v1/tokens"), 401, "unauthenticated")


async def test_an_empty_admin_token_is_refused(api_on_sqlite: Api) -> None:
    with pytest.raises(Invalid, match="empty"):
        await api_on_sqlite.context.database.write(tokens.ensure_admin_token, " ")


async def test_an_executors_token_is_bound_to_tasks_and_an_owner(api: Api) -> None:
    asked = {"name": "press", "role": "executor", "tasks": ["shop/send", "app_shop_sync"], "owner_id": 2**63 - 1}
    made = accepted(await api.admin.post("/v1/tokens", json=asked), 201)
    assert (made["tasks"], made["owner_id"]) == (asked["tasks"], asked["owner_id"])
    caller = await api.read(lambda tx: tokens.authenticate(tx, made["token"]))
    assert (caller.scope.tasks, caller.owner_id) == (("shop/send", "app_shop_sync"), 2**63 - 1)


async def test_tasks_go_with_the_role_executor(api_on_sqlite: Api) -> None:
    for asked in ({"role": "viewer", "tasks": ["a"]}, {"role": "executor", "tasks": []}):
        refusal = await api_on_sqlite.admin.post("/v1/tokens", json={"name": "x", **asked})
        assert fields(refused(refusal, 422, "invalid")) == ["$.tasks" if asked["tasks"] == [] else "tasks"]
