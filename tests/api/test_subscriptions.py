"""Subscriptions through the API."""

from datetime import timedelta

from app_sdk.protocol.signing import SECRET_PREFIX
from orchestrator.api.shapes import subscriptions as shapes
from orchestrator.domain.outcome import Response
from orchestrator.service import event_delivering, publishing
from orchestrator.service.claimed import LeaseTerms
from orchestrator.service.event_delivering import Sent
from orchestrator.store.transaction import Transaction
from tests.api.doors import Api, Json, accepted, conforms, fields, refused
from tests.engine.posting import insert_events

URL = "https://example.com/events"
LEASE_TERMS = LeaseTerms("by hand", timedelta(seconds=40))


async def subscribe(api: Api, **more: object) -> Json:
    body = {"target_url": URL, "pattern": "core.task.#", **more}
    return accepted(await api.admin.post("/v1/subscriptions", json=body), 201)


async def publish(api: Api, count: int, **more: str) -> None:
    def work(tx: Transaction) -> None:
        insert_events(tx, count, **more)
        publishing.publish(tx)

    await api.write(work)


async def answer(api: Api, status: int) -> None:
    """Send what is due to an endpoint that answers so."""

    def work(tx: Transaction) -> None:
        taken = event_delivering.take(tx, 100, LEASE_TERMS)
        assert taken
        event_delivering.record(tx, [Sent(event, Response(status, b""), 0.0) for event in taken])

    await api.write(work)


async def test_the_secret_is_told_once(api: Api) -> None:
    key = {"Idempotency-Key": "k"}
    body = {"target_url": URL, "pattern": "core.task.#"}
    response = await api.admin.post("/v1/subscriptions", json=body, headers=key)
    made = accepted(response, 201)
    conforms(shapes.SubscriptionWithSecret, made)
    assert made["secret"].startswith(SECRET_PREFIX)
    assert response.headers["location"] == f"/v1/subscriptions/{made['id']}"
    again = accepted(await api.admin.post("/v1/subscriptions", json=body, headers=key), 201)
    assert again == {name: value for name, value in made.items() if name != "secret"}
    shown = accepted(await api.admin.get(response.headers["location"]))
    conforms(shapes.SubscriptionInFull, shown)
    assert shown == {**again, "pending": 0}


async def test_a_secret_may_be_brought_along(api_on_sqlite: Api) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert (await subscribe(api_on_sqlite, secret=secret))["secret"] == secret


async def test_what_is_not_acceptable_names_its_field(api_on_sqlite: Api) -> None:
    for field, value in (("target_url", "nowhere"), ("pattern", "core.task*"), ("secret", "password")):
        body = {"target_url": URL, "pattern": "#", field: value}
        problem = refused(await api_on_sqlite.admin.post("/v1/subscriptions", json=body), 422, "invalid")
        assert fields(problem) == [f"$.{field}"]


async def test_they_are_listed_newest_first_and_only_those_of_the_workspace(api: Api) -> None:
    made = [await subscribe(api, pattern=f"core.task.t{number}.#") for number in range(3)]
    first = accepted(await api.admin.get("/v1/subscriptions", params={"limit": 2}))
    second = accepted(await api.admin.get("/v1/subscriptions", params={"cursor": first["next_cursor"]}))
    listed = first["items"] + second["items"]
    assert [one["id"] for one in listed] == [one["id"] for one in reversed(made)]
    for one in listed:
        conforms(shapes.Subscription, one)
    stranger = await api.other_workspace()
    assert accepted(await stranger.get("/v1/subscriptions"))["items"] == []
    path = f"/v1/subscriptions/{made[0]['id']}"
    for method, address in (("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/replay")):
        refused(await stranger.request(method, address, json={}), 404, "not-found")
    refused(await stranger.get(f"{path}/deliveries"), 404, "not-found")


async def test_it_is_paused_resumed_and_given_another_pattern(api: Api) -> None:
    path = f"/v1/subscriptions/{(await subscribe(api))['id']}"
    paused = accepted(await api.admin.patch(path, json={"status": "paused", "pattern": "core.task.#.failure.v1"}))
    assert (paused["status"], paused["pattern"]) == ("paused", "core.task.#.failure.v1")
    assert paused["status_reason"].startswith("paused by first admin (tok_")
    await publish(api, 2)
    await publish(api, 3, type_="core.task.x.failure.v1", prefix="bad")
    assert accepted(await api.admin.get(path))["pending"] == 3
    woken = len(api.wakes)
    resumed = accepted(await api.admin.patch(path, json={"status": "active"}))
    assert (resumed["status"], resumed["status_reason"], len(api.wakes)) == ("active", None, woken + 1)
    assert fields(refused(await api.admin.patch(path, json={"pattern": "a b"}), 422, "invalid")) == ["$.pattern"]
    refused(await api.admin.patch(path, json={"status": "disabled"}), 422, "invalid")


async def test_deliveries_tell_what_the_endpoint_said(api: Api) -> None:
    path = f"/v1/subscriptions/{(await subscribe(api))['id']}"
    await publish(api, 2)
    await answer(api, 500)
    failing = accepted(await api.admin.get(path))
    assert (failing["failures"], failing["pending"]) == (2, 2)
    assert failing["failing_since"] < failing["retry_at"]
    listed = accepted(await api.admin.get(f"{path}/deliveries", params={"status": "pending"}))["items"]
    assert [(one["seq"], one["message"], one["execution_id"]) for one in listed] == [
        (2, "try 1: HTTP 500", "evt-1"),
        (1, "try 1: HTTP 500", "evt-0"),
    ]
    conforms(shapes.Delivery, listed[0])
    assert accepted(await api.admin.get(f"{path}/deliveries", params={"status": "failed"}))["items"] == []
    first = accepted(await api.admin.get(f"{path}/deliveries", params={"limit": 1}))
    rest = accepted(await api.admin.get(f"{path}/deliveries", params={"cursor": first["next_cursor"]}))
    assert first["items"] + rest["items"] == listed


async def test_a_replay_makes_deliveries_due_again(api: Api) -> None:
    path = f"/v1/subscriptions/{(await subscribe(api))['id']}"
    await publish(api, 4)
    await answer(api, 204)
    assert accepted(await api.admin.get(path))["pending"] == 0
    woken = len(api.wakes)
    replayed = accepted(await api.admin.post(f"{path}/replay", json={"after": 1, "until": "2099-01-01T00:00:00Z"}))
    conforms(shapes.Replayed, replayed)
    assert replayed == {"deliveries": 3, "next_after": None}
    assert len(api.wakes) == woken + 1
    assert accepted(await api.admin.get(path))["pending"] == 3
    assert accepted(await api.admin.post(f"{path}/replay", json={"since": "2099-01-01T00:00:00Z"}))["deliveries"] == 0
    refused(await api.admin.post(f"{path}/replay", json={"after": -1}), 422, "invalid")


async def test_a_deleted_one_is_gone(api: Api) -> None:
    path = f"/v1/subscriptions/{(await subscribe(api))['id']}"
    await publish(api, 1)
    assert (await api.admin.delete(path)).status_code == 204
    for method, address in (("GET", path), ("DELETE", path), ("PATCH", path), ("GET", f"{path}/deliveries")):
        refused(await api.admin.request(method, address, json={}), 404, "not-found")
    assert await api.write(lambda tx: event_delivering.take(tx, 9, LEASE_TERMS)) == []
