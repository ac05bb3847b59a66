import asyncio
import json
from typing import Any

import httpx
import orjson
import pytest

from app_sdk.protocol.signing import rmd_signature
from orchestrator.api.shapes import imports as shapes
from orchestrator.service import collector
from tests.api.doors import Api, accepted, conforms, fields, refused

AIRPORT = {"kind": "airport", "iata": "CDG"}


async def deliver(
    api: Api,
    items: Any,
    key: str | None = "imp_1",
    *,
    workspace_id: str = "default",
    secret: str | None = None,
) -> httpx.Response:
    body = orjson.dumps({"workspace_id": workspace_id, "items": items})
    return await deliver_raw(api, body, key, secret)


async def deliver_raw(api: Api, body: bytes, key: str | None = "imp_1", secret: str | None = None) -> httpx.Response:
    if secret is None:
        secret = accepted(await api.admin.get("/v1/workspaces/default/secret"))["secret"]
    headers = {"X-Rmd-Signature": rmd_signature(secret, body), "Content-Type": "application/json"}
    if key is not None:
        headers["Idempotency-Key"] = key
    client = await api.client(None)
    return await client.post("/collector/data", content=body, headers=headers)


async def test_a_signed_batch_is_taken_in_in_its_order(api: Api) -> None:
    items = [{"kind": "airport", "n": number} for number in range(250)]
    answer = accepted(await deliver(api, items))
    conforms(shapes.Collected, answer)
    assert answer == {"received": 250, "duplicate": False}
    first = accepted(await api.admin.get("/collector/items", params={"limit": 200}))
    second = accepted(await api.admin.get("/collector/items", params={"cursor": first["next_cursor"]}))
    shown = first["items"] + second["items"]
    assert [entry["item"] for entry in shown] == items[::-1]
    conforms(shapes.CollectedItem, shown[0])
    assert shown[0]["batch_key"] == "imp_1"


async def test_a_batch_that_was_seen_is_dropped(api: Api) -> None:
    accepted(await deliver(api, [AIRPORT]))
    assert accepted(await deliver(api, [AIRPORT])) == {"received": 0, "duplicate": True}
    assert accepted(await deliver(api, [AIRPORT], "imp_2")) == {"received": 1, "duplicate": False}
    assert len(accepted(await api.admin.get("/collector/items"))["items"]) == 2


async def test_one_of_several_deliveries_at_the_same_time_is_kept(api: Api) -> None:
    answers = await asyncio.gather(*(deliver(api, [AIRPORT, AIRPORT]) for _ in range(8)))
    assert sorted(accepted(answer)["received"] for answer in answers) == [0] * 7 + [2]
    assert len(accepted(await api.admin.get("/collector/items"))["items"]) == 2


async def test_without_a_key_every_batch_is_kept(api: Api) -> None:
    for _ in range(2):
        assert accepted(await deliver(api, [AIRPORT], None))["received"] == 1


async def test_each_workspace_has_its_own_keys_and_items(api: Api) -> None:
    other = await api.other_workspace()
    secret = accepted(await other.get("/v1/workspaces/other/secret"))["secret"]
    accepted(await deliver(api, [AIRPORT]))
    assert accepted(await deliver(api, [AIRPORT], workspace_id="other", secret=secret))["received"] == 1
    assert len(accepted(await other.get("/collector/items"))["items"]) == 1


async def test_who_cannot_sign_is_refused_and_learns_nothing(api_on_sqlite: Api) -> None:
    forged = refused(await deliver(api_on_sqlite, [AIRPORT], secret="wrong"), 401, "unauthenticated")
    unknown = refused(
        await deliver(api_on_sqlite, [AIRPORT], workspace_id="no", secret="wrong"), 401, "unauthenticated"
    )
    assert forged == unknown
    client = await api_on_sqlite.client(None)
    unsigned = await client.post("/collector/data", json={"workspace_id": "default", "items": []})
    refused(unsigned, 401, "unauthenticated")
    assert accepted(await api_on_sqlite.admin.get("/collector/items"))["items"] == []


async def test_nothing_is_read_for_somebody_who_cannot_sign(
    api_on_sqlite: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(body: bytes) -> Any:
        raise AssertionError("a body that nobody has signed was read")

    monkeypatch.setattr(collector, "read_batch", read)
    refused(await deliver(api_on_sqlite, [AIRPORT], secret="wrong"), 401, "unauthenticated")
    refused(await deliver(api_on_sqlite, [AIRPORT], workspace_id="no"), 401, "unauthenticated")
    client = await api_on_sqlite.client(None)
    unsigned = await client.post("/collector/data", json={"workspace_id": "default", "items": []})
    refused(unsigned, 401, "unauthenticated")
    refused(await deliver_raw(api_on_sqlite, b"not JSON"), 422, "invalid")


@pytest.mark.parametrize(
    "body",
    [
        b'{"workspace_id": "default", "items": [{"kind": "a", "workspace_id": "no"}]}',
        b'{"items": [{"kind": "a", "workspace_id": "no"}], "workspace_id" : "default"}',
        b'{"items": [{"kind": "a", "note": "\\"workspace_id\\": \\"no\\""}], "workspace_id": "default"}',
        b'{"workspace_id": "default", "items": [{"kind": "a", "pad": "' + b"x" * 1_000_000 + b'"}]}',
    ],
)
async def test_the_workspace_is_found_wherever_it_stands(api_on_sqlite: Api, body: bytes) -> None:
    assert accepted(await deliver_raw(api_on_sqlite, body)) == {"received": 1, "duplicate": False}


async def test_an_id_that_no_database_takes_is_no_workspace(api: Api) -> None:
    for id_ in (b"a\0b", b"\xff", b"a" * 300, b""):
        answer = await deliver_raw(api, b'{"workspace_id": "' + id_ + b'", "items": []}', secret="wrong")
        assert answer.status_code in (401, 422), answer.text


async def test_the_secret_of_one_workspace_opens_no_other(api_on_sqlite: Api) -> None:
    other = await api_on_sqlite.other_workspace()
    secret = accepted(await other.get("/v1/workspaces/other/secret"))["secret"]
    smuggled = {"kind": "a", "workspace_id": "other"}
    for document in (
        {"workspace_id": "default", "items": [smuggled]},
        {"items": [smuggled], "workspace_id": "default"},
    ):
        answer = await deliver_raw(api_on_sqlite, orjson.dumps(document), secret=secret)
        refused(answer, 401, "unauthenticated")
    assert accepted(await api_on_sqlite.admin.get("/collector/items"))["items"] == []


async def test_a_batch_signed_before_a_rotation_is_refused(api_on_sqlite: Api) -> None:
    secret = accepted(await api_on_sqlite.admin.get("/v1/workspaces/default/secret"))["secret"]
    accepted(await api_on_sqlite.admin.post("/v1/workspaces/default/rotate-secret"))
    refused(await deliver(api_on_sqlite, [AIRPORT], secret=secret), 401, "unauthenticated")
    accepted(await deliver(api_on_sqlite, [AIRPORT]))


async def test_what_is_no_batch_is_refused_for_its_content(api_on_sqlite: Api) -> None:
    for document, field in (
        ([], "$.workspace_id"),
        ([{"workspace_id": "default"}], "$"),
        ({"items": []}, "$.workspace_id"),
        ({"workspace_id": {"workspace_id": "default"}, "items": []}, "$.workspace_id"),
        ({"workspace_id": "default"}, "$.items"),
        ({"workspace_id": "default", "items": [AIRPORT, {"iata": "CDG"}]}, "$.items[1]"),
        ({"workspace_id": "default", "items": ["{}"]}, "$.items[0]"),
        ({"workspace_id": "default", "items": [AIRPORT] * (collector.MOST_ITEMS + 1)}, "$.items"),
    ):
        problem = refused(await deliver_raw(api_on_sqlite, orjson.dumps(document)), 422, "invalid")
        assert fields(problem) == [field]
    body = b'{"workspace_id": "default", "items": [{"kind": "a", "n": 1e400}]}'
    problem = refused(await deliver_raw(api_on_sqlite, body), 400, "malformed-json")
    assert fields(problem) == ["$.items[0].n"]
    refused(await deliver(api_on_sqlite, [AIRPORT], "k" * 256), 422, "invalid")


async def test_the_largest_batch_is_taken_in_and_one_item_more_is_not(api: Api) -> None:
    largest = [{"kind": "n"}] * 10_000
    assert accepted(await deliver(api, largest)) == {"received": 10_000, "duplicate": False}
    problem = refused(await deliver(api, [*largest, {"kind": "n"}], "imp_2"), 422, "invalid")
    assert problem["detail"] == "a batch may have 10,000 items, not 10,001"


async def test_items_are_listed_by_kind(api: Api) -> None:
    accepted(await deliver(api, [AIRPORT, {"kind": "city", "name": "Paris"}, {"kind": "city", "name": "Rome"}]))
    page = accepted(await api.admin.get("/collector/items", params={"kind": "city", "limit": 1}))
    assert [entry["item"]["name"] for entry in page["items"]] == ["Rome"]
    params = {"kind": "city", "cursor": page["next_cursor"]}
    rest = accepted(await api.admin.get("/collector/items", params=params))
    assert [entry["item"]["name"] for entry in rest["items"]] == ["Paris"]


async def test_items_are_exported_as_ndjson_oldest_first(api: Api) -> None:
    count = 2345
    for start in range(0, count, 250):
        items = [{"kind": "n", "n": number} for number in range(start, min(start + 250, count))]
        accepted(await deliver(api, items, f"imp_{start}"))
    accepted(await deliver(api, [AIRPORT], "imp_last"))
    response = await api.admin.get("/collector/items", params={"format": "ndjson", "kind": "n"})
    assert response.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line)["n"] for line in response.text.splitlines()] == list(range(count))
    whole = await api.admin.get("/collector/items", headers={"Accept": "application/x-ndjson"})
    assert len(whole.text.splitlines()) == count + 1


async def test_numbers_and_key_order_survive_the_collector(api: Api) -> None:
    item = '{"z":18446744073709551615,"kind":"n","a":-9223372036854775808,"f":0.1,"é":"\\u2028"}'
    body = f'{{"workspace_id":"default","items":[{item}]}}'.encode()
    accepted(await deliver_raw(api, body))
    exported = (await api.admin.get("/collector/items", params={"format": "ndjson"})).text
    assert exported == item.replace("\\u2028", "\u2028") + "\n"
    listed = (await api.admin.get("/collector/items")).text
    assert exported.strip() in listed
