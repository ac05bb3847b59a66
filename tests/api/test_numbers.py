"""What people put in comes out as it was: numbers, the order of keys, unicode."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app_sdk.protocol import strict_json
from tests.api.doors import Api, a_task, accepted

AWKWARD = (
    '{"z":18446744073709551615,"a":-9223372036854775808,"big":9007199254740993,"f":0.1,"e":1e+22,'
    '"small":5e-324,"nested":{"y":1,"x":[1,2.0,null,true,"é\U0001f40d\u2028"]},"":"","one":1,"onef":1.0}'
)
JSON = {"Content-Type": "application/json"}


def embedded(text: str, name: str, of: str) -> bool:
    return f'"{name}":{text}' in of


async def test_a_state_survives_unchanged(api: Api) -> None:
    await api.install()
    normal = strict_json.dumps(strict_json.loads(AWKWARD.encode())).decode()
    text = f'{{"task_id":"app_shop_sync","state":{AWKWARD},"workers":[{{"worker_id":4,"initial_state":{AWKWARD}}}]}}'
    response = await api.admin.post("/v1/executions", content=text.encode(), headers=JSON)
    execution = accepted(response, 201)
    assert embedded(normal, "input", response.text)
    shown = (await api.admin.get(f"/v1/executions/{execution['id']}")).text
    assert embedded(normal, "input", shown)
    assert shown.count(f'"state":{normal}') == 2
    listed = (await api.admin.get("/v1/executions")).text
    assert embedded(normal, "input", listed)


async def test_an_app_state_survives_unchanged(api: Api) -> None:
    await api.install()
    normal = strict_json.dumps(strict_json.loads(AWKWARD.encode())).decode()
    text = f'{{"mutations":[{{"operation":"set","key":"k","value":{AWKWARD}}}]}}'
    response = await api.admin.patch("/v1/apps/app_shop/state", content=text.encode(), headers=JSON)
    accepted(response)
    assert embedded(normal, "k", response.text)
    assert embedded(normal, "k", (await api.admin.get("/v1/apps/app_shop/state")).text)


async def test_an_increment_is_exact(api: Api) -> None:
    await api.install()
    step = {"operation": "increment", "key": "n", "value": 2**53}
    body = {"mutations": [step, {**step, "value": 1}]}
    assert accepted(await api.admin.patch("/v1/apps/app_shop/state", json=body)) == {"state": {"n": 2**53 + 1}}


numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("_", [0])
@given(state=st.dictionaries(texts, values, max_size=5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_state_survives(api: Api, _: int, state: dict[str, Any]) -> None:
    text = strict_json.dumps(state)
    if len(text) > 4000:
        return
    if not accepted(await api.admin.get("/v1/apps"))["items"]:
        await api.install("app_shop", a_task(on_multiple_exec="allow"))
    body = b'{"task_id":"app_shop_sync","state":' + text + b"}"
    response = await api.admin.post("/v1/executions", content=body, headers=JSON)
    assert embedded(text.decode(), "input", response.text)
