"""The app, as peers with threads, processes or greenlets call it."""

import urllib3

from benchmarks.peers.webhook import Lane, following, request


class SyncApp:
    """The app at a URL; the pool of connections is shared by all threads, and empty when a process is forked."""

    def __init__(self, url: str, in_flight: int) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(maxsize=in_flight, retries=False)

    def step(self, lane: Lane) -> Lane | None:
        """Make the lane's next call; gives the lane with its new state, or None when it is done."""
        body, headers = request(lane)
        response = self._pool.request("POST", self._url, body=body, headers=headers)
        if response.status != 200:
            raise RuntimeError(f"the app answered {response.status}")
        return following(lane, response.data)
