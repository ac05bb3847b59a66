"""What a subscriber is sent, to the byte; and that the page about it is right."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from app_sdk.protocol.signing import webhook_signature
from orchestrator.engine.event_request import EventRequestOptions, event_request
from orchestrator.store.event_deliveries import OutgoingEvent
from tests.support.world import SECRET

PAGE = Path(__file__).parents[2] / "docs" / "doors" / "events.md"
URL = "https://example.com/events?of=shop"


def sent(at: float = 1_700_000_000.7, **more: Any) -> Any:
    facts = {
        "subscription_pk": 1,
        "event_pk": 2,
        "tries": 1,
        "kind": "http",
        "target_url": URL,
        "secret_encrypted": None,
        "task_pk": None,
        "id": "evt_0198_1",
        "workspace_id": "acme",
        "seq": 7,
        "type": "core.task.shop.sync.success.v1",
        "subject": "run-1",
        "data": '{"text":"ä"}',
        "created_at": 1_700_000_000_000_001,
        "lease_until": 1_700_000_040_000_001,
    }
    options = EventRequestOptions(timeout_secs=20, verify_tls=True, user_agent="orchestrator", clock=lambda: at)
    return event_request(OutgoingEvent(**{**facts, **more}), URL, SECRET, options)


def test_the_attributes_are_headers_and_the_data_is_the_body() -> None:
    request = sent()
    assert request.body == '{"text":"ä"}'.encode()
    assert request.headers == {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "orchestrator",
        "ce-specversion": "1.0",
        "ce-id": "evt_0198_1",
        "ce-source": "urn:orchestrator:workspace:acme",
        "ce-type": "core.task.shop.sync.success.v1",
        "ce-subject": "run-1",
        "ce-time": "2023-11-14T22:13:20.000001Z",
        "ce-sequence": "7",
        "webhook-id": "evt_0198_1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": webhook_signature(SECRET, "evt_0198_1", 1_700_000_000, request.body),
    }


@pytest.mark.parametrize(
    ("subject", "header"),
    [
        ("a b", "a%20b"),
        ('say "100%"', "say%20%22100%25%22"),
        ("größe", "gr%C3%B6%C3%9Fe"),
        ("x\r\nEvil: 1", "x%0D%0AEvil:%201"),
        ("a/b?c#d[e]~^`|{}<>\\'", "a/b?c#d[e]~^`|{}<>\\'"),
    ],
)
def test_a_header_holds_visible_ascii_only(subject: str, header: str) -> None:
    assert sent(subject=subject).headers["ce-subject"] == header


def test_the_page_tells_how_to_verify() -> None:
    [source] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(compile(source, PAGE, "exec"), namespace)
    request = sent(time.time())
    headers = dict(request.headers)
    assert namespace["is_genuine"](headers, request.body) is True
    assert namespace["is_genuine"](headers, request.body + b" ") is False
    assert namespace["is_genuine"](dict(sent(time.time() - 600).headers), request.body) is False
