"""Whom the catalogue is read from: stands for a web API that allows so many requests a second."""

import time
from collections.abc import Callable

from sample_apps.catalog_import.datasets import DatasetName, Record, records
from sample_apps.token_bucket import TokenBucket


class TooManyRequests(Exception):
    """The upstream refuses, and tells when it will not."""

    def __init__(self, retry_after_secs: float) -> None:
        super().__init__(f"too many requests; welcome again in {retry_after_secs:.2f} s")
        self.retry_after_secs = retry_after_secs


class Upstream:
    """Serves pages of the catalogues, as many a second as its bucket has tokens for."""

    def __init__(self, bucket: TokenBucket, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = bucket
        self._clock = clock

    def size(self, dataset: DatasetName) -> int:
        """How many records the catalogue has; this request is free."""
        return len(records(dataset))

    def page(self, dataset: DatasetName, positions: range) -> list[Record]:
        """The records at these positions; raises TooManyRequests."""
        wait_secs = self._bucket.take(self._clock())
        if wait_secs:
            raise TooManyRequests(wait_secs)
        return records(dataset)[positions.start : positions.stop]
