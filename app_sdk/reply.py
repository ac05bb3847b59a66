"""What an app replies over HTTP."""

from http import HTTPStatus
from typing import NamedTuple

from app_sdk.protocol.strict_json import dumps

MAX_BODY_BYTES = 32 * 1024 * 1024
"""A payload may carry the states of ten workers and of the app."""


class Reply(NamedTuple):
    """An HTTP status and a body, which is an answer (200) or a problem document."""

    status: int
    body: bytes

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers that go with it."""
        kind = "application/json" if self.status == HTTPStatus.OK else "application/problem+json"
        headers = [("content-type", kind), ("content-length", str(len(self.body)))]
        if self.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers.append(("allow", "POST"))
        return headers


def problem(status: HTTPStatus, detail: str) -> Reply:
    """A refusal in the form of RFC 9457."""
    document = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return Reply(status.value, dumps(document))


def wrong_method() -> Reply:
    """The refusal of everything but POST."""
    return problem(HTTPStatus.METHOD_NOT_ALLOWED, "this is a webhook: it takes POST")


def too_large() -> Reply:
    """The refusal of a body over MAX_BODY_BYTES."""
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {MAX_BODY_BYTES} bytes")
