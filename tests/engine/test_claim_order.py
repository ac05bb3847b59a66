"""Which of an app's due workers is called first."""

from datetime import timedelta

from tests.engine.by_hand import ByHand
from tests.support.fake_app import never
from tests.support.world import running_world


async def test_who_has_been_due_longest_is_claimed_first(database_url: str) -> None:
    async with running_world(database_url, never, start=False, virtual_time=True) as world:
        await world.install({"on_multiple_exec": "allow"})
        hand = ByHand(world)
        first = await world.launch()
        # Due again after two seconds: behind one that was launched after it, and before another.
        await hand.turn(await hand.claims(), delay_next_request_in_secs=2)
        world.advance(timedelta(seconds=1))
        second = await world.launch()
        world.advance(timedelta(seconds=2))
        third = await world.launch()
        claimed = [claim.execution_id for _ in range(4) for claim in await hand.claims(places=1)]
        assert claimed == [second, first, third]
