"""What the API is given by the runtime."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from app_sdk.protocol.limits import Limits
from orchestrator.service.collector import Batch
from orchestrator.service.definitions import Definitions
from orchestrator.service.pull_claims import Wanted
from orchestrator.service.pull_tasks import PullTask
from orchestrator.service.vault import Vault
from orchestrator.store.share import Share


@dataclass(frozen=True, slots=True)
class ApiContext:
    """Everything that a route may use.

    `wake` is called after the commit of anything that may have made work due. `announce` tells listeners of a new
    simple task's number. `poll` waits for so long for steps of pull tasks; `give_back` takes back what it has given to
    somebody who is gone. `take_in` keeps a batch in the collector; False if one with this key has come before.
    `is_ready`: the database is reachable, its schema serves this version, and this node is not draining.
    `node_timeout`: how long a node may be silent before it is held to be gone.
    """

    database: Share
    definitions: Definitions
    vault: Vault
    limits: Limits
    api_body_bytes: int
    public_url: str
    new_id: Callable[[], str]
    wake: Callable[[], None]
    announce: Callable[[int], None]
    poll: Callable[[Wanted, timedelta], Awaitable[Sequence[PullTask]]]
    give_back: Callable[[Sequence[PullTask]], None]
    take_in: Callable[[Batch, str], Awaitable[bool]]
    is_ready: Callable[[], Awaitable[bool]]
    node: str
    node_timeout: timedelta
    version: str
