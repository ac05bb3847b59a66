"""Every test here runs on both event loops: asyncio's own, and uvloop, which is the server's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
import uvloop

from orchestrator.engine.caller import Caller, CallerOptions, open_caller
from tests.engine.caller.servers import OpenCaller

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def opened() -> AsyncIterator[OpenCaller]:
    """Opens callers that may call this machine, unless told otherwise, and closes them after the test."""
    async with AsyncExitStack() as stack:

        def open_one(lookup: Any = None, **options: Any) -> Caller:
            options = {"allow_private_addresses": True, **options}
            seams = {} if lookup is None else {"lookup": lookup}
            caller = open_caller(CallerOptions(**options), clock=NOW.timestamp, **seams)
            stack.push_async_callback(caller.close)
            return caller

        yield open_one


@pytest.fixture
def caller(opened: OpenCaller) -> Caller:
    return opened()
