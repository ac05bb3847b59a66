"""Instants as the tables keep them: microseconds since the epoch, UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(instant: datetime) -> int:
    """Microseconds since the epoch of an aware datetime."""
    return (instant - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC datetime of a table's integer."""
    return _EPOCH + micros * _MICROSECOND


def maybe_micros(instant: datetime | None) -> int | None:
    """As to_micros; None stays None."""
    return None if instant is None else to_micros(instant)


def maybe_instant(micros: int | None) -> datetime | None:
    """As from_micros; None stays None."""
    return None if micros is None else from_micros(micros)
