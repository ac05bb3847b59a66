"""What a dispatcher is told: how it may call, and whom it tells of what its commits bring about."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from app_sdk.protocol.limits import Limits


@dataclass(frozen=True, slots=True)
class DispatcherOptions:
    """`concurrency`: calls in flight on this node. `lease`: must outlast the longest call and its commit.

    `begin_within`: a call that has not begun so long after its claim is not made. A node that stood still in between
    may have been given up by the others, and one of them may be making it.
    """

    node: str
    concurrency: int
    lease: timedelta
    begin_within: timedelta
    limits: Limits
    poll_interval: timedelta

    @property
    def spare(self) -> int:
        """The places kept for apps that have no call in flight."""
        return 0 if self.concurrency == 1 else max(1, self.concurrency // 10)


@dataclass(frozen=True, slots=True)
class Outlets:
    """Whom the dispatcher tells about what a commit has made due; `left_over` is more than this node can take.

    `has_others` tells whether other nodes are at work too.
    """

    batches: Callable[[], None]
    freed_groups: Callable[[], None]
    left_over: Callable[[], None]
    has_others: Callable[[], bool]
