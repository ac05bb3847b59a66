"""A token bucket that spreads out in time those whom it refuses."""

import math
import threading

# A caller that waited as long as it was told is not refused for a rounding error of its clock or its timer.
_ROUNDING = 1e-3


class TokenBucket:
    """Lets `rate_per_sec` requests a second pass, and `burst` at once after a pause, from any thread.

    Everyone who is refused is told a time of their own, one token after that of the one refused before. With
    the same time for all, ten would come back at once, for one token.
    """

    def __init__(self, rate_per_sec: float, burst: int) -> None:
        if rate_per_sec <= 0 or burst < 1:
            raise ValueError("a bucket needs a rate above 0 and a burst of 1 or more")
        self._rate_per_sec = rate_per_sec
        self._burst = burst
        self._tokens = float(burst)
        self._seen_at = -math.inf
        self._promised_until = -math.inf
        self._lock = threading.Lock()

    def take(self, now: float) -> float:
        """Take a token at `now`, seconds of a steady clock: 0, or how long to wait before asking again."""
        with self._lock:
            now = max(now, self._seen_at)
            self._tokens = min(self._burst, self._tokens + (now - self._seen_at) * self._rate_per_sec)
            self._seen_at = now
            if self._tokens >= 1 - _ROUNDING:
                self._tokens -= 1
                return 0.0
            soonest = now + (1 - self._tokens) / self._rate_per_sec
            self._promised_until = max(soonest, self._promised_until + 1 / self._rate_per_sec)
            return self._promised_until - now
