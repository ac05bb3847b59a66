"""How a subscription fares as its deliveries fail and succeed."""

from datetime import UTC, datetime, timedelta

from orchestrator.domain.subscriptions import (
    LONGEST_WAIT,
    PAUSED_AFTER,
    Standing,
    SubscriptionStatus,
    wait_after,
)

NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)
ACTIVE = Standing(SubscriptionStatus.ACTIVE)


def test_a_delivery_is_tried_ten_times_in_three_days() -> None:
    waits = [wait_after(tries, 0.0) for tries in range(1, 12)]
    # As in the example of Standard Webhooks 1.0.0.
    hours = [0.5, 2, 5, 10, 14, 20, 24]
    expected = [timedelta(seconds=5), timedelta(minutes=5), *(timedelta(hours=one) for one in hours)]
    assert waits == [*expected, None, None]
    assert timedelta(days=3) < sum(expected, timedelta()) < timedelta(days=4)
    assert wait_after(1, 1.0) == timedelta(seconds=5.5)
    assert wait_after(1, -1.0) == timedelta(seconds=4.5)


def test_a_subscriber_that_is_down_is_asked_more_and_more_seldom() -> None:
    one, waits = ACTIVE, []
    for _ in range(9):
        one = one.after_failure("HTTP 500", None, NOW, 0.0)
        assert one.retry_at is not None
        waits.append((one.retry_at - NOW).total_seconds())
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert (one.failures, one.failing_since, one.status) == (9, NOW, SubscriptionStatus.ACTIVE)
    assert one.is_outage
    assert one.after_success() == ACTIVE
    assert not ACTIVE.after_failure("HTTP 400", None, NOW, 0.0).is_outage


def test_it_decides_itself_how_long_it_wants_peace_within_reason() -> None:
    asked = ACTIVE.after_failure("HTTP 429", timedelta(minutes=42), NOW, 0.0)
    assert asked.retry_at == NOW + timedelta(minutes=42)
    assert ACTIVE.after_failure("HTTP 503", timedelta(days=400), NOW, 0.0).retry_at == NOW + LONGEST_WAIT


def test_after_days_without_a_success_it_is_paused_and_says_why() -> None:
    failing = ACTIVE.after_failure("HTTP 500", None, NOW, 0.0)
    almost = failing.after_failure("HTTP 500", None, NOW + PAUSED_AFTER - timedelta(seconds=1), 0.0)
    assert almost.status is SubscriptionStatus.ACTIVE
    paused = almost.after_failure("HTTP 502: bad", None, NOW + PAUSED_AFTER, 0.0)
    assert paused.status is SubscriptionStatus.PAUSED
    assert paused.reason == "nothing was delivered since 2026-01-31 08:00 UTC; the last try: HTTP 502: bad"


def test_a_success_in_between_begins_the_days_anew() -> None:
    failing = ACTIVE.after_failure("HTTP 500", None, NOW, 0.0).after_success()
    again = failing.after_failure("HTTP 500", None, NOW + PAUSED_AFTER, 0.0)
    assert again.status is SubscriptionStatus.ACTIVE


def test_a_pause_by_hand_outlasts_what_was_on_its_way() -> None:
    paused = Standing(SubscriptionStatus.PAUSED, "paused by ops")
    assert paused.after_success() == paused
    failed = paused.after_failure("HTTP 500", None, NOW, 0.0)
    assert (failed.status, failed.reason) == (SubscriptionStatus.PAUSED, "paused by ops")


def test_one_that_is_gone_is_disabled() -> None:
    gone = ACTIVE.after_gone("HTTP 410")
    assert gone.status is SubscriptionStatus.DISABLED
    assert gone.reason == "the endpoint says that it is gone: HTTP 410"
