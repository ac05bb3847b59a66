"""An executor at the API: what the tests of POST /rpc share."""

from typing import Any

import httpx

from tests.api.doors import Api, Json, a_task, accepted

TASK = "app_shop_sync"
PULL: Json = {"transport": "pull", "on_multiple_exec": "allow", "aliases": ["shop/send"]}


async def an_executor(api: Api, *tasks: str, **task: Any) -> httpx.AsyncClient:
    """An executor, and the app whose task it works on."""
    await api.install("app_shop", a_task(**PULL, **task), webhook_endpoint=None)
    made = {"name": "laptop", "role": "executor", **({"tasks": list(tasks)} if tasks else {})}
    return await api.client(accepted(await api.admin.post("/v1/tokens", json=made), 201)["token"])


async def rpc(client: httpx.AsyncClient, method: str, status: int = 200, /, **params: Any) -> Any:
    """The result of a method, or its error."""
    answer = accepted(await client.post("/rpc", json={"method": f"awf.task/{method}", "params": params}), status)
    return answer["result"] if status == 200 else answer["error"]


async def polled(client: httpx.AsyncClient, *definitions: str, **params: Any) -> list[Json]:
    found = await rpc(client, "poll", taskDefinitions=list(definitions or ("shop/send",)), **params)
    assert list(found) == ["resources"]
    return list(found["resources"])


def claim_of(task: Json) -> Json:
    return {"id": task["id"], "execId": task["execId"]}
