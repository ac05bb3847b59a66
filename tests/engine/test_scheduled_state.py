"""What a schedule launches begins with the schedule's own state, for its application."""

import json
from datetime import timedelta

from tests.support.fake_app import Received
from tests.support.waiting import eventually
from tests.support.world import running_world

MINUTE = timedelta(minutes=1)


async def test_what_it_launches_has_the_schedules_state_and_application(database_url: str) -> None:
    state = {"page": 2**63, "of": ["ä", None]}
    seen: list[object] = []

    def look(request: Received) -> object:
        seen.append(request.worker["worker_state"])
        return {"is_done": True}

    async with running_world(database_url, look, virtual_time=True) as world:
        await world.install({"schedule": {"interval_secs": 60, "state": state, "application": "acme"}})
        world.advance(MINUTE)

        async def called() -> bool:
            return bool(seen)

        await eventually(called, "the call")
        [(input_, application)] = await world.rows("SELECT input, application FROM execution_details")
    assert (json.loads(input_), application) == (state, "acme")
    assert seen == [state]
