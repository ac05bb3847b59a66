"""An event as a request: CloudEvents 1.0 in binary mode, signed as Standard Webhooks 1.0.0 asks."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from app_sdk.protocol.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, webhook_signature
from orchestrator.engine.caller import Request
from orchestrator.store.clock import from_micros
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


def attributes(event: OutgoingEvent) -> dict[str, str]:
    """The context attributes of CloudEvents; `sequence` orders the events of a workspace."""
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": f"urn:orchestrator:workspace:{event.workspace_id}",
        "type": event.type,
        "subject": event.subject,
        "time": from_micros(event.created_at).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "sequence": str(event.seq),
    }


def event_request(event: OutgoingEvent, url: str, secret: str, options: EventRequestOptions) -> Request:
    """The POST of one try; each is signed anew, with the event's id."""
    body = event.data.encode()
    at = int(options.clock())
    headers = {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": options.user_agent,
        **{f"ce-{name}": quote(value, safe=_AS_IT_IS) for name, value in attributes(event).items()},
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
