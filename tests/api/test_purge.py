"""Purging through the API: whose, how old, how it ended; counted first, then removed, a part with each request."""

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.api.shapes import purges as shapes
from orchestrator.service import purging
from orchestrator.store.clock import to_micros
from orchestrator.store.transaction import Transaction
from tests.api.doors import Api, Json, a_manifest, a_task, accepted, conforms, fields, refused

DAY_SECS = 86_400
OLD = {"older_than_secs": 30 * DAY_SECS}


async def end(api: Api, *ids: str, days: float = 40, status: str = "succeeded") -> None:
    """Let these executions have ended so long ago."""

    def work(tx: Transaction) -> None:
        ended_at = to_micros(tx.now() - timedelta(days=days))
        sql = "UPDATE executions SET status = :status, ended_at = :ended_at, open_workers = 0 WHERE id IN :ids"
        assert tx.run(sql, status=status, ended_at=ended_at, ids=list(ids)) == len(ids)

    await api.write(work)


async def launched(api: Api, *ids: str, task: str = "app_shop_sync") -> None:
    for id_ in ids:
        await api.launch(task, id=id_)


async def ids(api: Api) -> list[str]:
    listed = accepted(await api.admin.get("/v1/executions", params={"limit": 500}))
    return [one["id"] for one in reversed(listed["items"])]


async def purge(api: Api, **body: Any) -> Json:
    answer = accepted(await api.admin.post("/v1/purge", json={**OLD, **body}))
    conforms(shapes.Purged, answer)
    return answer


async def test_it_is_counted_and_then_removed(api: Api) -> None:
    await api.install("app_shop", a_task(on_multiple_exec="allow"))
    await launched(api, "old", "failed", "young", "open")
    await end(api, "old")
    await end(api, "failed", status="failed")
    await end(api, "young", days=20)
    counted = await purge(api, dry_run=True)
    assert (counted["executions"], counted["dry_run"], counted["next_cursor"] is None) == (0, True, False)
    total = 0
    while counted["next_cursor"] is not None:
        counted = await purge(api, dry_run=True, cursor=counted["next_cursor"])
        total += counted["executions"]
    assert total == 2
    assert await ids(api) == ["old", "failed", "young", "open"]
    removed = await purge(api, statuses=["succeeded"])
    assert (removed["executions"], removed["next_cursor"]) == (1, None)
    assert await ids(api) == ["failed", "young", "open"]
    refused(await api.admin.get("/v1/executions/old"), 404, "not-found")
    refused(await api.admin.post("/v1/executions/old/retry"), 404, "not-found")
    assert await purge(api, statuses=["succeeded"]) == {**removed, "executions": 0}


async def test_many_go_batch_by_batch(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "EXECUTIONS", 2)
    await api.install("app_shop", a_task(on_multiple_exec="allow"))
    await launched(api, *(f"old-{number}" for number in range(5)), "last")
    await end(api, *(f"old-{number}" for number in range(5)))
    counts, cursor = [], None
    while True:
        answer = await purge(api, statuses=["succeeded"], **({"cursor": cursor} if cursor else {}))
        counts.append(answer["executions"])
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert counts == [2, 2, 1]
    assert await ids(api) == ["last"]


async def test_what_stays_is_told(api: Api) -> None:
    await api.install("app_shop", a_task(on_multiple_exec="allow"))
    await launched(api, "held", "newest")
    await end(api, "held", "newest")

    def hold_back(tx: Transaction) -> None:
        tx.run(
            """INSERT INTO import_batches (workspace_id, execution_pk, worker_id, step, part, key, item_count, status,
                                           tries, created_at)
               SELECT workspace_id, pk, 0, 0, 0, 'imp', 1, 'refused', 1, 1 FROM executions WHERE id = 'held'"""
        )

    await api.write(hold_back)
    answer = await purge(api, statuses=["succeeded"])
    assert (answer["executions"], answer["held_back"], answer["newest"]) == (0, 1, 1)
    task = accepted(await api.admin.get("/v1/apps/app_shop/tasks/app_shop_sync"))
    assert task["last_execution"]["id"] == "newest"


async def test_it_can_be_narrowed_to_an_app_and_a_task(api: Api) -> None:
    await api.install("app_shop", a_task(aliases=["shop"], on_multiple_exec="allow"))
    await api.install("app_else", a_task("app_else_sync", on_multiple_exec="allow"))
    await launched(api, "a", "b")
    await launched(api, "c", "d", task="app_else_sync")
    await end(api, "a", "b", "c", "d")
    only = {"statuses": ["succeeded"], "dry_run": True}
    assert (await purge(api, app_id="app_else", **only))["executions"] == 1
    assert (await purge(api, task_id="shop", app_id="app_else", **only))["executions"] == 0
    assert (await purge(api, task_id="shop", **only))["executions"] == 1
    assert (await purge(api, task_id="no", **only))["executions"] == 0
    await purge(api, task_id="shop", statuses=["succeeded"])
    assert await ids(api) == ["b", "c", "d"]


async def test_an_admin_purges_the_own_workspace_and_those_of_default_any(api: Api) -> None:
    await api.install("app_shop", a_task(on_multiple_exec="allow"))
    await launched(api, "mine", "mine-too")
    await end(api, "mine")
    other = await api.other_workspace()
    body = {"older_than_secs": DAY_SECS, "statuses": ["succeeded"]}
    assert accepted(await other.post("/v1/purge", json=body))["executions"] == 0
    refused(await other.post("/v1/purge", json={**body, "workspace_id": "default"}), 404, "not-found")
    refused(await api.admin.post("/v1/purge", json={**body, "workspace_id": "no"}), 404, "not-found")
    manifest = a_manifest("app_shop", a_task(on_multiple_exec="allow"))
    accepted(await other.post("/v1/apps", json={"manifest": manifest}), 201)
    for id_ in ("theirs", "theirs-too"):
        accepted(await other.post("/v1/executions", json={"task_id": "app_shop_sync", "id": id_}), 201)
    await end(api, "theirs")
    assert await ids(api) == ["mine", "mine-too"]
    assert (await purge(api, statuses=["succeeded"], workspace_id="other"))["executions"] == 1
    assert await ids(api) == ["mine", "mine-too"]
    refused(await other.get("/v1/executions/theirs"), 404, "not-found")


async def test_sent_again_under_its_key_it_is_not_done_again(api: Api) -> None:
    await api.install("app_shop", a_task(on_multiple_exec="allow"))
    await launched(api, "a", "b", "c")
    await end(api, "a")
    body, headers = {**OLD, "statuses": ["succeeded"]}, {"Idempotency-Key": "k"}
    first = accepted(await api.admin.post("/v1/purge", json=body, headers=headers))
    await end(api, "b")
    again = await api.admin.post("/v1/purge", json=body, headers=headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert accepted(again) == first
    assert await ids(api) == ["b", "c"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"older_than_secs": DAY_SECS - 1}, "$.older_than_secs"),
        ({"older_than_secs": 10**12}, "$.older_than_secs"),
        ({}, "$.older_than_secs"),
        ({**OLD, "statuses": ["running"]}, "$.statuses[0]"),
        ({**OLD, "statuses": []}, "$.statuses"),
        ({**OLD, "cursor": "x"}, "cursor"),
        ({**OLD, "cursor": "WyJwdXJnZSIsOTAwMDAwMDAwMDAwMDAwMDAwMCwwLDAsMF0="}, "cursor"),
        ({**OLD, "cursor": "WyJwdXJnZSIsMCw5LDAsMF0="}, "cursor"),
        ({**OLD, "everything": True}, "$.everything"),
    ],
)
async def test_what_is_not_understood_is_refused(api_on_sqlite: Api, body: Json, field: str) -> None:
    assert fields(refused(await api_on_sqlite.admin.post("/v1/purge", json=body), 422, "invalid")) == [field]
