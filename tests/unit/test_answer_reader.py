"""The reader of answers, without a connection: any bytes, in any pieces, end in one outcome, not an error."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.domain.outcome import FailureKind, NoResponse, Response
from orchestrator.engine.answer_reader import AnswerReader, read_retry_after

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
LIMIT = 1_000

ANSWERS = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}": Response(200, b"{}"),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\n\r\n": Response(204, b""),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;a\r\n}\r\n0\r\nX: y\r\n\r\n": Response(
        200, b"{}"
    ),
    b"HTTP/1.1 503 No\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n": Response(503, b"", timedelta(seconds=9)),
}


def read(*pieces: bytes, limit: int = LIMIT) -> AnswerReader:
    reader = AnswerReader(limit, NOW.timestamp)
    for piece in pieces:
        if reader.outcome is None:
            reader.feed(piece)
    return reader


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_pieces_make_no_difference(answer: bytes) -> None:
    whole = read(answer)
    assert (whole.outcome, whole.is_reusable) == (ANSWERS[answer], True)
    for cut in range(1, len(answer)):
        reader = read(answer[:cut], answer[cut:])
        assert (reader.outcome, reader.is_reusable) == (ANSWERS[answer], True)


@pytest.mark.parametrize("answer", ANSWERS)
def test_no_part_of_an_answer_is_taken_for_the_whole(answer: bytes) -> None:
    for cut in range(len(answer)):
        reader = read(answer[:cut])
        assert reader.outcome is None
        reader.feed_eof()
        assert reader.outcome is None


@given(
    st.lists(st.binary(max_size=200), max_size=5),
    st.sampled_from([*ANSWERS, b"", b"HTTP/1.1 200 OK\r\n\r\n"]),
)
def test_any_bytes_end_in_an_outcome_or_wait_for_more(pieces: list[bytes], start: bytes) -> None:
    reader = read(start, *pieces)
    assert reader.progress
    reader.feed_eof()
    match reader.outcome:
        case None:
            assert not reader.is_reusable
        case Response(status, body):
            assert 200 <= status < 600
            assert len(body) <= LIMIT
        case NoResponse(kind, message, sent):
            assert kind in (FailureKind.PROTOCOL, FailureKind.OVERSIZE, FailureKind.CONTENT_ENCODING)
            assert message.startswith("answer refused: ")
            assert sent
            assert not reader.is_reusable


@pytest.mark.parametrize("surplus", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"\x00" * 9])
def test_what_follows_an_answer_changes_nothing_in_it(surplus: bytes) -> None:
    reader = read(b"HTTP/1.1 200 OK\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}" + surplus)

    assert reader.outcome == Response(200, b"{}", timedelta(seconds=1))
    assert not reader.is_reusable


def test_headers_of_an_informational_answer_say_nothing_about_the_final_one() -> None:
    hints = b"HTTP/1.1 103 Hints\r\nContent-Encoding: gzip\r\nRetry-After: 5\r\n\r\n"

    assert read(hints + b"HTTP/1.1 204 None\r\n\r\n").outcome == Response(204, b"")


def test_trailers_say_nothing_about_the_answer() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    trailers = b"Content-Encoding: gzip\r\nRetry-After: 5\r\n\r\n"

    assert read(chunked + trailers).outcome == Response(200, b"")


@pytest.mark.parametrize(
    ("framing", "body"),
    [(b"Content-Length: %d", b"%s"), (b"Transfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n")],
)
def test_the_limit_of_the_body_is_exact(framing: bytes, body: bytes) -> None:
    for size in (LIMIT - 1, LIMIT, LIMIT + 1):
        head = b"HTTP/1.1 200 OK\r\n" + (framing % size if b"%" in framing else framing) + b"\r\n\r\n"
        content = b"x" * size
        outcome = read(head + (body % (size, content) if b"%x" in body else body % content)).outcome
        if size <= LIMIT:
            assert outcome == Response(200, content)
        else:
            assert isinstance(outcome, NoResponse)
            assert (outcome.kind, outcome.status) == (FailureKind.OVERSIZE, 200)


@pytest.mark.parametrize(("count", "is_taken"), [(99, True), (100, False)])
def test_the_limit_of_header_lines(count: int, is_taken: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * count + b"Content-Length: 0\r\n\r\n"

    assert isinstance(read(head).outcome, Response) is is_taken


@pytest.mark.parametrize(("count", "is_taken"), [(5, True), (6, False)])
def test_the_limit_of_informational_answers(count: int, is_taken: bool) -> None:
    answers = b"HTTP/1.1 102 Wait\r\n\r\n" * count + b"HTTP/1.1 204 None\r\n\r\n"

    assert isinstance(read(answers).outcome, Response) is is_taken


@pytest.mark.parametrize(("size", "is_taken"), [(65_000, True), (66_000, False)])
def test_the_limit_of_header_bytes(size: int, is_taken: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\nX: " + b"y" * size + b"\r\nContent-Length: 0\r\n\r\n"

    assert isinstance(read(head).outcome, Response) is is_taken
    assert isinstance(read(head[:30_000], head[30_000:]).outcome, Response) is is_taken


@pytest.mark.parametrize(
    ("start", "most"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", 64 * 1024),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=", 1024 * 1024),
    ],
)
def test_what_is_no_body_may_be_so_large_to_the_byte(start: bytes, most: int) -> None:
    largest = start + b"y" * (most - len(start))

    assert read(largest).outcome is None
    assert isinstance(read(largest, b"y").outcome, NoResponse)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        (b"0", timedelta(0)),
        (b" 120 ", timedelta(minutes=2)),
        (b"-5", timedelta(0)),
        (b"9" * 30, timedelta(seconds=999_999_999)),
        (b"Sat, 21 Nov 2026 12:00:30 GMT", timedelta(seconds=30)),
        (b"Saturday, 21-Nov-26 12:00:30 GMT", timedelta(seconds=30)),
        (b"Sat Nov 21 12:00:30 2026", timedelta(seconds=30)),
        (b"Sat, 21 Nov 2026 11:59:00 GMT", timedelta(0)),
        (b"Sat, 21 Nov 2026 13:00:30 +0100", timedelta(seconds=30)),
        (b"", None),
        (b"-", None),
        (b"soon", None),
        (b"1.5", None),
        (b"1e3", None),
        (b"0x10", None),
        (b"\xb2", None),
        (b"Sat, 99 Nov 2026 12:00:30 GMT", None),
        (b"Sat, 21 Nov 99999 12:00:30 GMT", None),
    ],
)
def test_retry_after(value: bytes, wait: timedelta | None) -> None:
    assert read_retry_after(value, NOW) == wait


@given(st.one_of(st.binary(max_size=60), st.from_regex(rb"[A-Za-z]{3}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ .{0,9}")))
@example(b"Sat, 21 Nov 9999 23:59:59 -2359")
@example(b"Sat, 1 Jan 1 00:00:00 +2359")
def test_a_retry_after_of_any_bytes_is_a_wait_or_nothing(value: bytes) -> None:
    wait = read_retry_after(value, NOW)

    assert wait is None or wait >= timedelta(0)
