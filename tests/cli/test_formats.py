"""Values as people read them."""

import pytest

from orchestrator.cli.formats import clean, duration, number, one_line, plural, schedule, when


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "0.0 s"),
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (42.4, "42 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86_400 * 2 + 3600, "2 d 1 h"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (28298, "28,298"), (1.0, "1"), (1234.56, "1,234.6"), (None, ""), ("7", "7"), (True, "True")],
)
def test_numbers(value: object, text: str) -> None:
    assert number(value) == text


def test_plurals() -> None:
    assert [plural(count, "retry", "retries") for count in (0, 1, 2000)] == [
        "0 retries",
        "1 retry",
        "2,000 retries",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2026-11-21T08:30:00.999999Z", "2026-11-21 08:30:00Z"),
        ("2026-11-21T10:30:00+02:00", "2026-11-21 08:30:00Z"),
        (None, ""),
        ("soon", "soon"),
    ],
)
def test_times(value: object, text: str) -> None:
    assert when(value) == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\x1b[31mb\x07\x9b", "a\ufffd[31mb\ufffd\ufffd"),
        ("line\r\nnext\ttab", "line\nnext\ttab"),
        ("over\rwritten", "over\ufffdwritten"),
        ("abc\u202edef", "abc\ufffddef"),
        ("\ud800", "\ufffd"),
        ("Zürich 👩‍🚀", "Zürich 👩‍🚀"),
        (None, ""),
        (3, "3"),
    ],
)
def test_text_of_strangers_is_made_harmless(text: object, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_one_line() -> None:
    assert one_line(" a\n b\t c ") == "a b c"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ({"cron": None, "interval_secs": 300.0}, "every 5 min"),
        ({"cron": "0 3 * * *", "timezone": "Europe/Paris", "interval_secs": None}, "0 3 * * * Europe/Paris"),
        ({"cron": "0 3 * * *"}, "0 3 * * * UTC"),
        ({}, ""),
    ],
)
def test_schedules(value: object, text: str) -> None:
    assert schedule(value) == text
