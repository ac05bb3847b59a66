"""The third party: a zip service that answers at once, works afterwards, and tells the result at a callback URL.

It knows nothing of orchestrators. A callback is sent again until somebody takes it, which is safe: the same one again
changes nothing.
"""

import asyncio
import io
import logging
import zipfile
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

logger = logging.getLogger(__name__)

WAITS_SECS = (1, 2, 5, 15, 60)


class ZipService:
    """`PUT /jobs/<job>` takes `{files, callback_url}`; `GET /zips/<job>` gives the file."""

    def __init__(
        self, client: httpx.AsyncClient, url: str, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self.zips: dict[str, bytes] = {}
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._client = client
        self._url = url
        self._sleep = sleep
        self.asgi = Starlette(
            routes=[
                Route("/jobs/{job:path}", self._take, methods=["PUT"]),
                Route("/zips/{job:path}", self._give),
            ]
        )

    async def settled(self) -> None:
        """Wait until every job is done and told."""
        await asyncio.gather(*self._jobs.values())

    async def _take(self, request: Request) -> JSONResponse:
        job = request.path_params["job"]
        if job in self._jobs:
            return JSONResponse({"job": job, "is_new": False})
        asked = await request.json()
        self._jobs[job] = asyncio.create_task(self._do(job, asked["files"], asked["callback_url"]))
        return JSONResponse({"job": job, "is_new": True}, HTTPStatus.ACCEPTED)

    async def _give(self, request: Request) -> Response:
        zipped = self.zips.get(request.path_params["job"])
        if zipped is None:
            return JSONResponse({"title": "No such zip"}, HTTPStatus.NOT_FOUND)
        return Response(zipped, media_type="application/zip")

    async def _do(self, job: str, files: dict[str, str], callback_url: str) -> None:
        if not files:
            await self._tell(callback_url, {"status": "FAILURE", "subtext": "there are no files to zip"})
            return
        self.zips[job] = await asyncio.to_thread(_zipped, files)
        size = len(self.zips[job])
        said = {
            "status": "SUCCESS",
            "logs": [f"packed {name}" for name in files],
            "output": {"zipFileLocation": f"{self._url}/zips/{job}", "bytes": size},
            "subtext": f"{len(files)} files, {size:,} bytes",
        }
        await self._tell(callback_url, said)

    async def _tell(self, callback_url: str, said: dict[str, Any]) -> None:
        for wait_secs in (*WAITS_SECS, None):
            reason = await self._refusal(callback_url, said)
            if reason is None:
                return
            if wait_secs is None:
                logger.error("nobody takes the callback: %s", reason)
                return
            await self._sleep(wait_secs)

    async def _refusal(self, callback_url: str, said: dict[str, Any]) -> str | None:
        """Why the callback should be sent again; None if it was taken, or never will be."""
        try:
            response = await self._client.post(callback_url, json=said)
        except httpx.TransportError as error:
            return repr(error)
        if response.is_server_error:
            return f"HTTP {response.status_code}"
        if response.is_error:
            logger.error("the callback was refused: HTTP %d: %s", response.status_code, response.text)
        return None


def _zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()
