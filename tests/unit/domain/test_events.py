"""What an event is called, and what its data is made of."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.events import data_of, event_id, name_of, routing_key
from orchestrator.domain.states import ENDED_EXECUTION, ExecutionStatus


@pytest.mark.parametrize(
    ("aliases", "name"),
    [
        ([], "app_shop_sync"),
        (["sync"], "app_shop_sync"),
        (["sync", "shop.tasks.sync", "shop.other"], "shop.tasks.sync"),
    ],
)
def test_a_task_is_called_by_its_first_dotted_alias_else_its_id(aliases: list[str], name: str) -> None:
    assert name_of("app_shop_sync", aliases) == name


@pytest.mark.parametrize(
    ("status", "key"),
    [
        (ExecutionStatus.SUCCEEDED, "core.task.shop.tasks.sync.success.v1"),
        (ExecutionStatus.FAILED, "core.task.shop.tasks.sync.failure.v1"),
        (ExecutionStatus.ABORTED, "core.task.shop.tasks.sync.failure.v1"),
    ],
)
def test_the_key_says_how_it_ended(status: ExecutionStatus, key: str) -> None:
    assert routing_key("shop.tasks.sync", status) == key


@given(name=st.text(min_size=1, max_size=255), status=st.sampled_from(sorted(ENDED_EXECUTION)))
def test_a_key_is_short_and_plain_whatever_the_name(name: str, status: ExecutionStatus) -> None:
    key = routing_key(name, status)
    assert re.fullmatch(r"core\.task\.[A-Za-z0-9_.-]+\.(success|failure)\.v1", key)
    assert len(key.encode()) <= 255


@given(id_=st.text(), attempt=st.integers(1, 2**31), name=st.text(), message=st.none() | st.text(), ended=st.booleans())
def test_the_parts_make_a_json_object(id_: str, attempt: int, name: str, message: str | None, ended: bool) -> None:
    status = ExecutionStatus.SUCCEEDED if ended else ExecutionStatus.FAILED
    data = data_of(id_, attempt, name, status, message)
    whole = json.loads(f'{data.before_application}"app"{data.before_result}{{"n":1}}{data.before_message}"said"}}')
    assert whole == {
        "id": id_,
        "attempt": attempt,
        "task": name,
        "application": "app",
        "status": "SUCCESS" if ended else "FAILURE",
        "result": {"n": 1},
        "error": None if ended else message,
        "message": "said",
    }


def test_an_events_id_suits_standard_webhooks() -> None:
    assert "." not in event_id("0198-ab", 2)
    assert event_id("0198-ab", 1) != event_id("0198-ab", 2)
