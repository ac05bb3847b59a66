"""The two transactions of a turn, made by hand: what a test decides about order and batches, no loop can disturb."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app_sdk.protocol.limits import DEFAULT_LIMITS
from orchestrator.domain.outcome import NoResponse, Response
from orchestrator.service.apply import Applied, ApplyTerms, apply, apply_and_claim
from orchestrator.service.claim import Claimed, next_claims
from orchestrator.service.claimed import Claim, LeaseTerms
from orchestrator.service.report import Report, report
from orchestrator.service.sharing import Places
from tests.support.world import World


@dataclass(frozen=True, slots=True)
class ByHand:
    """A node without loops, on the database of a world that was not started."""

    world: World
    name: str = "by-hand"
    lease: timedelta = timedelta(seconds=30)

    @property
    def terms(self) -> LeaseTerms:
        return LeaseTerms(self.name, self.lease)

    async def claim(self, places: int = 100) -> dict[int, Claim]:
        """Claim what is due; the claims by worker id (of one execution)."""
        claimed = await self.claims(places)
        return {claim.worker_id: claim for claim in claimed}

    async def claims(self, places: int = 100) -> tuple[Claim, ...]:
        """Claim what is due."""
        return (await self.look(places)).claims

    async def look(self, places: int = 10) -> Claimed:
        """Claim what is due, and see when to look again."""
        definitions = self.world.node.definitions
        return await self.world.database.write(next_claims, definitions, self.terms, Places(places, spare=0))

    async def apply(self, *reports: Report, renews: bool = True, is_full: bool = False) -> Applied:
        """Commit the reports in one transaction."""
        terms = ApplyTerms(self.name, DEFAULT_LIMITS, self.terms if renews else None, is_full)
        definitions = self.world.node.definitions
        return await self.world.database.write(apply, definitions, reports, terms, [0.0] * len(reports))

    async def apply_and_look(self, *reports: Report, places: int = 10) -> tuple[Applied, Claimed]:
        """Commit the reports and claim what is due, in one transaction."""
        terms = ApplyTerms(self.name, DEFAULT_LIMITS, self.terms, is_full=False)
        jitter, wanted = [0.0] * len(reports), Places(places, spare=0)
        definitions = self.world.node.definitions
        return await self.world.database.write(apply_and_claim, definitions, reports, terms, jitter, wanted)

    async def turn(self, claims: Sequence[Claim], **answer: Any) -> Applied:
        """Apply the same answer to each of the claims, in one transaction."""
        return await self.apply(*(answered(claim, **answer) for claim in claims))


def answered(claim: Claim, **answer: Any) -> Report:
    """The report of a 200 with this answer."""
    return reported(claim, Response(200, json.dumps(answer).encode()))


def reported(claim: Claim, outcome: Response | NoResponse) -> Report:
    return report(claim, outcome, DEFAULT_LIMITS, timedelta(milliseconds=1))


async def launched(hand: ByHand, *delays_secs: float, **app: Any) -> None:
    """Claims of executions of one worker each, which are answered to call again after these times."""
    await hand.world.install({"on_multiple_exec": "allow"}, **app)
    for _ in delays_secs:
        await hand.world.launch(wakes=None)
    claims = await hand.claims()
    for claim, delay_secs in zip(claims, delays_secs, strict=True):
        await hand.apply(answered(claim, delay_next_request_in_secs=delay_secs), renews=False)


async def due_at(world: World) -> datetime:
    """When the only worker is due."""
    [(micros,)] = await world.rows("SELECT due_at FROM workers")
    return datetime.fromtimestamp(micros / 1_000_000, UTC)
