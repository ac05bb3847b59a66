"""Events as CloudEvents 1.0 describes them, for every way in which they leave."""

from typing import Protocol

from orchestrator.store.clock import from_micros


class Published(Protocol):
    """What is known of a published event wherever it was read."""

    @property
    def id(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def created_at(self) -> int: ...


def attributes(event: Published, workspace_id: str) -> dict[str, str]:
    """The context attributes; `sequence` (an extension) orders the events of a workspace."""
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": f"urn:orchestrator:workspace:{workspace_id}",
        "type": event.type,
        "subject": event.subject,
        "time": from_micros(event.created_at).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "sequence": str(event.seq),
    }
