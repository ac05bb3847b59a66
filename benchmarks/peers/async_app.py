"""The app, as asynchronous peers call it."""

import aiohttp

from benchmarks.peers.webhook import Lane, following, request


class AsyncApp:
    """The app at a URL; connects in the event loop of the first call."""

    def __init__(self, url: str, in_flight: int) -> None:
        self._url = url
        self._in_flight = in_flight
        self._session: aiohttp.ClientSession | None = None

    async def step(self, lane: Lane) -> Lane | None:
        """Make the lane's next call; gives the lane with its new state, or None when it is done."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._in_flight)
            self._session = aiohttp.ClientSession(connector=connector, raise_for_status=True)
        body, headers = request(lane)
        async with self._session.post(self._url, data=body, headers=headers) as response:
            return following(lane, await response.read())
