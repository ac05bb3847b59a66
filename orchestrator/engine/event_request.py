"""An event as a request: CloudEvents 1.0 in binary mode, signed as Standard Webhooks 1.0.0 asks."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from app_sdk.protocol.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, webhook_signature
from orchestrator.engine.caller import Request
from orchestrator.service.cloud_events import attributes
from orchestrator.store.event_deliveries import OutgoingEvent

MAX_ANSWER_BYTES = 64 * 1024
# The HTTP binding of CloudEvents encodes what is no visible ASCII, and these three: blank, quotation mark, percent.
_AS_IT_IS = "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


@dataclass(frozen=True, slots=True)
class EventRequestOptions:
    """`clock` tells the time of day, in Unix seconds."""

    timeout_secs: float
    verify_tls: bool
    user_agent: str
    clock: Callable[[], float]


def event_request(event: OutgoingEvent, url: str, secret: str, options: EventRequestOptions) -> Request:
    """The POST of one try; each is signed anew, with the event's id."""
    body = event.data.encode()
    known = attributes(event, event.workspace_id)
    at = int(options.clock())
    headers = {
        "Content-Type": known.pop("datacontenttype"),
        "Accept-Encoding": "identity",
        "User-Agent": options.user_agent,
        **{f"ce-{name}": quote(value, safe=_AS_IT_IS) for name, value in known.items()},
        ID_HEADER: event.id,
        TIMESTAMP_HEADER: str(at),
        SIGNATURE_HEADER: webhook_signature(secret, event.id, at, body),
    }
    return Request(
        url=url,
        headers=headers,
        body=body,
        timeout_secs=options.timeout_secs,
        max_answer_bytes=MAX_ANSWER_BYTES,
        verify_tls=options.verify_tls,
    )
