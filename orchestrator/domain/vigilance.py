"""When the silence of other nodes says something about them, and when only about us."""

from dataclasses import dataclass


@dataclass(slots=True)
class Vigilance:
    """One node's own signs of life, as it gave them; times are seconds of a monotonic clock.

    After the database was away, or this node was held up, everybody has been silent. So one that has been so itself
    waits until the others have had the time to speak.
    """

    timeout_secs: float
    _last: float | None = None
    _regular_since: float = 0.0

    @property
    def has_begun(self) -> bool:
        return self._last is not None

    def beat(self, now: float) -> bool:
        """Note a sign of life; True if those who have been silent for the timeout may be held to be gone."""
        if self._last is None or now - self._last > self.timeout_secs / 2:
            self._regular_since = now
        self._last = now
        return now - self._regular_since >= self.timeout_secs
