"""What one call of an app came back with, before anything is decided about it."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from app_sdk.protocol.frozen import frozen

_READ_BYTES = 400
_SHOWN_CHARS = 200


class FailureKind(StrEnum):
    """Why a call brought no valid answer. The value is shown to operators and kept in the call's record."""

    TIMEOUT = "timeout"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_RESET = "connection_reset"
    DNS = "dns"
    TLS = "tls"
    ADDRESS_REFUSED = "address_refused"
    PROTOCOL = "protocol"
    OVERSIZE = "oversize"
    CONTENT_ENCODING = "content_encoding"
    REDIRECT = "redirect"
    STATUS = "status"
    INVALID_BODY = "invalid_body"
    LOST = "lost"
    EXECUTOR = "executor"
    IN_PROGRESS_TIMEOUT = "in_progress_timeout"


@frozen
class Response:
    """A complete HTTP answer: its status, its whole body, and the wait that Retry-After asks for."""

    status: int
    body: bytes
    retry_after: timedelta | None = None

    def __str__(self) -> str:
        """The status, and how the body begins: one line for people, whatever the bytes.

        Without control characters: PostgreSQL stores no NUL, and a terminal obeys an escape sequence.
        """
        text = self.body[:_READ_BYTES].decode(errors="replace")
        said = " ".join("".join(one if one.isprintable() else " " for one in text).split())
        return f"HTTP {self.status}: {said[:_SHOWN_CHARS]}" if said else f"HTTP {self.status}"


@dataclass(frozen=True, slots=True)
class NoResponse:
    """No complete HTTP answer. `sent` is False only if not a byte of the request left this machine.

    `status` is the HTTP status where the head of an answer was read (oversize, content_encoding).
    """

    kind: FailureKind
    message: str
    sent: bool
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Unsuccessful:
    """A call that closed no step: what the operator reads, and what the retry depends on.

    `is_final`: no retry (a 400, a 410, an answer that the state refuses). `is_answered`: the app gave a
    complete HTTP answer. `is_sent`: a byte of the request may have reached it. `is_lost`: it was cut off on our
    side, which says nothing about the app.
    """

    message: str
    is_final: bool = False
    is_answered: bool = True
    is_sent: bool = True
    is_lost: bool = False
    retry_after: timedelta | None = None
