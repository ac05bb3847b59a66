"""What came back from a call, and what it means: the protocol's table, line by line."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_sdk.protocol.limits import DEFAULT_LIMITS, Limits
from orchestrator.domain.classify import Answered, Unanswered, classify
from orchestrator.domain.outcome import FailureKind, NoResponse, Response, Unsuccessful

SOON = timedelta(seconds=7)


def meaning_of(status: int, body: bytes = b"", retry_after: timedelta | None = None) -> Unanswered:
    meaning = classify(Response(status, body, retry_after), DEFAULT_LIMITS)
    assert isinstance(meaning, Unanswered)
    return meaning


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
@pytest.mark.parametrize("fields", ["", '"is_error": true', '"is_error": true, "is_done": true'])
def test_2xx_with_a_valid_body_is_an_answer_also_when_it_tells_of_an_error(status: int, fields: str) -> None:
    meaning = classify(Response(status, f"{{{fields}}}".encode()), DEFAULT_LIMITS)
    assert isinstance(meaning, Answered)
    assert meaning.answer.is_error is ("is_error" in fields)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "invalid answer: $: expected valid JSON, got an empty body"),
        (b"<html>", "invalid answer: $: expected valid JSON"),
        (
            b'{"new_workers": [{"worker_id": 10}]}',
            "$.new_workers[0].worker_id: expected an integer from 1 to 9",
        ),
    ],
)
def test_2xx_with_an_invalid_body_is_called_again_and_the_message_names_the_path(body: bytes, words: str) -> None:
    meaning = meaning_of(200, body, SOON)
    assert meaning.kind is FailureKind.INVALID_BODY
    assert words in meaning.call.message
    assert (meaning.call.is_final, meaning.call.is_answered, meaning.call.retry_after) == (False, True, None)


def test_400_is_final() -> None:
    expected = Unsuccessful("HTTP 400: no such customer", is_final=True)
    assert meaning_of(400, b" no such\n customer ", SOON) == Unanswered(FailureKind.STATUS, expected)


def test_410_is_final_and_stops_the_app() -> None:
    expected = Unsuccessful("HTTP 410", is_final=True)
    assert meaning_of(410) == Unanswered(FailureKind.STATUS, expected, stops_app=True)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_3xx_is_called_again_and_never_followed(status: int) -> None:
    expected = Unsuccessful(f"HTTP {status}: redirects are not followed")
    assert meaning_of(status, retry_after=SOON) == Unanswered(FailureKind.REDIRECT, expected)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 409, 411, 418, 422, 451, 499])
def test_other_4xx_are_called_again_after_the_backoff(status: int) -> None:
    expected = Unsuccessful(f"HTTP {status}", retry_after=None)
    assert meaning_of(status, retry_after=SOON) == Unanswered(FailureKind.STATUS, expected)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_retry_after_is_honoured_where_it_means_something(status: int) -> None:
    expected = Unsuccessful(f"HTTP {status}", retry_after=SOON)
    assert meaning_of(status, retry_after=SOON) == Unanswered(FailureKind.STATUS, expected)


@pytest.mark.parametrize("kind", sorted(set(FailureKind) - {FailureKind.LOST}))
@pytest.mark.parametrize("sent", [True, False])
def test_no_answer_is_called_again_knowing_what_was_sent(kind: FailureKind, sent: bool) -> None:
    meaning = classify(NoResponse(kind, "nobody there", sent), DEFAULT_LIMITS)
    assert meaning == Unanswered(kind, Unsuccessful("nobody there", is_answered=False, is_sent=sent))


@pytest.mark.parametrize("sent", [True, False])
def test_a_call_that_its_node_has_cut_off_is_called_again_at_once(sent: bool) -> None:
    meaning = classify(NoResponse(FailureKind.LOST, "going down", sent), DEFAULT_LIMITS)
    lost = Unsuccessful("going down", is_answered=False, is_sent=sent, is_lost=True)
    assert meaning == Unanswered(FailureKind.LOST, lost)


def test_an_error_page_is_quoted_but_not_whole() -> None:
    message = meaning_of(500, b"<h1>Oops</h1>\n" + b"\xff" * 5000).call.message
    assert message.startswith("HTTP 500: <h1>Oops</h1> \ufffd")
    assert len(message) <= 210


def test_the_limits_are_those_given() -> None:
    assert isinstance(classify(Response(200, b"{}   "), Limits(answer_bytes=2)), Unanswered)


@given(st.integers(100, 999), st.binary() | st.text().map(str.encode), st.none() | st.just(SOON))
def test_nothing_that_an_app_sends_raises(status: int, body: bytes, retry_after: timedelta | None) -> None:
    meaning = classify(Response(status, body, retry_after), DEFAULT_LIMITS)
    if isinstance(meaning, Answered):
        assert 200 <= status < 300
    else:
        assert meaning.call.message
        assert meaning.stops_app is (status == 410)
