"""Subscriptions to events: make, list, pause, resume, delete, and send again what was."""

from typing import Annotated, Any

from fastapi import Query, Response

from orchestrator.api.answers import json_answer, listing
from orchestrator.api.deps import Authenticated, Changing, Context, Paging, Posting
from orchestrator.api.routes import guarded_router
from orchestrator.api.shapes import subscriptions as shapes
from orchestrator.api.shapes.parts import Listing
from orchestrator.service import subscriptions
from orchestrator.service.idempotency import Reply
from orchestrator.service.subscriptions import Replay, SubscriptionOrder
from orchestrator.service.tokens import Caller
from orchestrator.store.transaction import Transaction

_ONE = "/v1/subscriptions/{subscription_id}"

router = guarded_router("events")

_Status = Annotated[shapes.DeliveryStatus | None, Query(description="Only those.")]


@router.post("/v1/subscriptions", status_code=201, response_model=shapes.SubscriptionWithSecret)
async def create_subscription(
    body: shapes.NewSubscription, context: Context, caller: Authenticated, write: Posting
) -> Response:
    """Subscribe an endpoint to events. The secret that they are signed with is told in this answer, and never again."""
    order = SubscriptionOrder(caller.workspace_id, body.target_url, body.pattern, body.secret)

    def work(tx: Transaction) -> Reply:
        made, plain = subscriptions.create(tx, context.vault, order)
        return Reply(201, shapes.subscription(made), {"secret": plain}, f"/v1/subscriptions/{made.id}")

    return await write(work)


@router.get("/v1/subscriptions", response_model=Listing[shapes.Subscription])
async def list_subscriptions(context: Context, caller: Authenticated, page: Paging) -> Response:
    """List subscriptions, newest first."""
    found = await context.database.read(subscriptions.listed, caller.workspace_id, page)
    return listing(found, shapes.subscription)


@router.get(_ONE, response_model=shapes.SubscriptionInFull)
async def get_subscription(subscription_id: str, context: Context, caller: Authenticated) -> Response:
    """See how a subscription fares."""
    return json_answer(await context.database.read(_shown, caller, subscription_id))


@router.patch(_ONE, response_model=shapes.SubscriptionInFull)
async def change_subscription(
    subscription_id: str, body: shapes.SubscriptionChange, caller: Authenticated, write: Changing
) -> Response:
    """Pause a subscription, let it go on, or give it another pattern, which counts from now on."""
    workspace_id = caller.workspace_id

    def work(tx: Transaction) -> Reply:
        if body.pattern is not None:
            subscriptions.set_pattern(tx, workspace_id, subscription_id, body.pattern)
        if body.status == "paused":
            subscriptions.pause(tx, workspace_id, subscription_id, f"paused by {caller.name} ({caller.token_id})")
        elif body.status == "active":
            subscriptions.resume(tx, workspace_id, subscription_id)
        return Reply(200, _shown(tx, caller, subscription_id))

    return await write(work, wakes=True)


@router.delete(_ONE, status_code=204)
async def delete_subscription(subscription_id: str, caller: Authenticated, write: Changing) -> Response:
    """Delete a subscription. What it was not sent yet is not sent."""

    def work(tx: Transaction) -> Reply:
        subscriptions.delete(tx, caller.workspace_id, subscription_id)
        return Reply(204)

    return await write(work)


@router.post(_ONE + "/replay", response_model=shapes.Replayed)
async def replay_subscription(
    subscription_id: str, body: shapes.Replay, caller: Authenticated, write: Posting
) -> Response:
    """Send events again that match the pattern, with the ids that they had: a part of them, in one transaction."""
    wanted = Replay(body.after, body.since, body.until, body.only_failed)

    def work(tx: Transaction) -> Reply:
        return Reply(200, shapes.replayed(subscriptions.replay(tx, caller.workspace_id, subscription_id, wanted)))

    return await write(work, wakes=True)


@router.get(_ONE + "/deliveries", response_model=Listing[shapes.Delivery])
async def list_deliveries(
    subscription_id: str, context: Context, caller: Authenticated, page: Paging, status: _Status = None
) -> Response:
    """List what became of the events of a subscription, the newest first."""
    workspace_id = caller.workspace_id
    found = await context.database.read(subscriptions.deliveries, workspace_id, subscription_id, status, page)
    return listing(found, shapes.delivery)


def _shown(tx: Transaction, caller: Caller, subscription_id: str) -> dict[str, Any]:
    found = subscriptions.get(tx, caller.workspace_id, subscription_id)
    return {**shapes.subscription(found), "pending": subscriptions.pending(tx, found)}
