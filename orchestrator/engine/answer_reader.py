"""One HTTP/1.x answer out of a connection's bytes, within fixed bounds. No I/O: the bytes are handed in.

llhttp (through httptools) does the parsing. What is added here keeps a hostile server's answer small and
unambiguous: bounds on everything that it may send, no encodings, and a reason in words for each refusal.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httptools

from orchestrator.domain.outcome import FailureKind, NoResponse, Response

Clock = Callable[[], float]
"""The time of day, in seconds since the epoch."""

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100
MAX_INFORMATIONAL = 5
# Chunk headers, extensions and trailers may take this much, and as much again as the body itself.
MAX_FRAMING_BYTES = 1024 * 1024

_HEADERS_READ = frozenset({b"content-encoding", b"content-length", b"retry-after", b"transfer-encoding"})


class _Stop(Exception):
    """Ends the parser's run over the present bytes; the outcome is already set."""


class AnswerReader:
    """Feed it the bytes until `outcome` is set. One reader reads one answer.

    `is_reusable` is True when the connection may carry another request: nothing followed the answer.
    """

    __slots__ = (
        "_body",
        "_clock",
        "_head_bytes",
        "_header_count",
        "_headers",
        "_informational",
        "_is_framed",
        "_is_head_read",
        "_max_body_bytes",
        "_parser",
        "_status",
        "_wire_bytes",
        "is_reusable",
        "outcome",
    )

    def __init__(self, max_body_bytes: int, clock: Clock) -> None:
        self.outcome: Response | NoResponse | None = None
        self.is_reusable = False
        self._max_body_bytes = max_body_bytes
        self._clock = clock
        self._parser = httptools.HttpResponseParser(self)
        # Bare line feeds and a space after a chunk's size are what old servers send. Nobody is behind us to
        # whom such an answer could mean something else.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()
        self._status = 0
        self._wire_bytes = self._head_bytes = self._header_count = self._informational = 0
        self._is_head_read = self._is_framed = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the connection; call it no more once `outcome` is set."""
        self._wire_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self.outcome is not None:
                return  # what follows a complete answer does not change it
            if isinstance(error, httptools.HttpParserCallbackError):
                raise  # a fault of ours: the event loop reports it, and ends the connection
            self._set_refusal(FailureKind.PROTOCOL, f"it is not valid HTTP: {error}")
        if self.outcome is None:
            self._check_bounds()

    def feed_eof(self) -> Response | NoResponse | None:
        """The server closed its side, which completes an answer that gave no length, and no other."""
        if self.outcome is None and self._is_head_read and not self._is_framed:
            self._complete()
        return self.outcome

    def broken_off(self, cause: str) -> NoResponse:
        """The outcome of a connection that ended, for `cause`, before the answer did."""
        return NoResponse(
            FailureKind.CONNECTION_RESET,
            f"{cause} before the answer was complete ({self.progress})",
            sent=True,
        )

    @property
    def progress(self) -> str:
        """How far the answer came, in words for an operator."""
        if not self._wire_bytes:
            return "not a byte of an answer"
        if not self._is_head_read:
            informational = f"{self._informational} informational answers, " if self._informational else ""
            return f"{informational}{self._wire_bytes:,} bytes of headers so far"
        length = self._headers.get(b"content-length")
        of_length = f" of {int(length):,}" if length else ""
        return f"headers received, {len(self._body):,}{of_length} body bytes so far"

    # What follows is called by the parser.

    def on_message_begin(self) -> None:
        if self.outcome is not None:
            self.is_reusable = False
            raise _Stop
        self._headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        self._head_bytes += len(name) + len(value)
        if self._header_count > MAX_HEADERS or self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(
                FailureKind.PROTOCOL,
                f"it has more than {MAX_HEADERS} header lines or {MAX_HEAD_BYTES:,} bytes of them",
            )
        key = name.lower()
        # What comes after the body (trailers) is counted, and otherwise ignored.
        if key in _HEADERS_READ and not self._is_head_read:
            known = self._headers.get(key)
            self._headers[key] = value if known is None else known + b"," + value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._informational += 1
            if self._informational > MAX_INFORMATIONAL:
                self._refuse(FailureKind.PROTOCOL, f"more than {MAX_INFORMATIONAL} informational answers (1xx)")
            return
        self._status = status
        self._is_head_read = True
        self._is_framed = b"content-length" in self._headers or b"transfer-encoding" in self._headers
        self._check_head()

    def on_body(self, data: bytes) -> None:
        if len(self._body) + len(data) > self._max_body_bytes:
            self._refuse_oversize("it is")
        self._body += data

    def on_message_complete(self) -> None:
        if self._is_head_read:
            self._complete()
            self.is_reusable = self._parser.should_keep_alive()

    # What follows decides.

    def _check_head(self) -> None:
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0") or not 200 <= self._status < 600:
            self._refuse(FailureKind.PROTOCOL, f"it says HTTP/{version} and status {self._status}")
        for header, harmless in ((b"content-encoding", b"identity"), (b"transfer-encoding", b"chunked")):
            value = self._headers.get(header, b"").strip().lower()
            if value and value != harmless:
                shown = value[:40].decode("ascii", "backslashreplace")
                self._refuse(
                    FailureKind.CONTENT_ENCODING,
                    f"its {header.decode().title()} is {shown!r}, and only {harmless.decode()} is accepted",
                )
        length = self._headers.get(b"content-length")
        if length is not None and int(length) > self._max_body_bytes:
            self._refuse_oversize(f"{int(length):,} bytes are announced, which is")

    def _check_bounds(self) -> None:
        framing_bytes = self._wire_bytes - len(self._body)
        if not self._is_head_read and self._wire_bytes > MAX_HEAD_BYTES:
            self._set_refusal(FailureKind.PROTOCOL, f"its headers are over {MAX_HEAD_BYTES:,} bytes")
        elif framing_bytes > MAX_FRAMING_BYTES + len(self._body):
            self._set_refusal(
                FailureKind.OVERSIZE,
                f"{framing_bytes:,} bytes of framing came with {len(self._body):,} of its body",
            )

    def _complete(self) -> None:
        asked = self._headers.get(b"retry-after")
        wait = None if asked is None else read_retry_after(asked, datetime.fromtimestamp(self._clock(), UTC))
        self.outcome = Response(self._status, bytes(self._body), wait)

    def _refuse_oversize(self, what: str) -> None:
        self._refuse(FailureKind.OVERSIZE, f"{what} over the limit of {self._max_body_bytes:,} bytes")

    def _refuse(self, kind: FailureKind, reason: str) -> None:
        self._set_refusal(kind, reason)
        raise _Stop

    def _set_refusal(self, kind: FailureKind, reason: str) -> None:
        self.is_reusable = False
        self.outcome = NoResponse(kind, f"answer refused: {reason}", sent=True, status=self._status or None)


def read_retry_after(value: bytes, now: datetime) -> timedelta | None:
    """The wait that a Retry-After header asks for, from `now`; None if it is neither seconds nor a date."""
    text = value.decode("latin-1").strip()
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdecimal():
        # Nine digits are thirty years: more cannot be meant, and would overflow.
        return timedelta(seconds=0 if text != digits else int(digits[:9]))
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # HTTP dates are in UTC, also in the old form that does not say so.
    return max(timedelta(0), (at if at.tzinfo else at.replace(tzinfo=UTC)) - now)
