"""Where the countries are exported to: a small service with a rate limit of its own.

A page has a URL of its own, so that a page sent twice is kept once: an app that is called again sends again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sample_apps.rate_limited_export.rate_gate import retry_after
from sample_apps.token_bucket import TokenBucket


@dataclass(slots=True)
class Export:
    """One export, as the upstream has received it."""

    pages: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    refused: int = 0
    repeated: int = 0

    def receipt(self) -> dict[str, int]:
        """What has come in, how often a page was refused, and how often one came again."""
        countries = sum(len(page) for page in self.pages.values())
        return {
            "pages": len(self.pages),
            "countries": countries,
            "refused": self.refused,
            "repeated": self.repeated,
        }


class Upstream:
    """`PUT /exports/<export>/pages/<number>` takes a page; `GET /exports/<export>` tells what has come in."""

    def __init__(self, bucket: TokenBucket, clock: Callable[[], float] = time.monotonic) -> None:
        self.exports: dict[str, Export] = {}
        self._bucket = bucket
        self._clock = clock
        self.asgi = Starlette(
            routes=[
                Route("/exports/{export:path}/pages/{number:int}", self._put_page, methods=["PUT"]),
                Route("/exports/{export:path}", self._get_receipt),
            ]
        )

    async def _put_page(self, request: Request) -> JSONResponse:
        export = self.exports.setdefault(request.path_params["export"], Export())
        wait_secs = self._bucket.take(self._clock())
        if wait_secs:
            export.refused += 1
            return JSONResponse({"title": "Too many requests"}, HTTPStatus.TOO_MANY_REQUESTS, retry_after(wait_secs))
        number = request.path_params["number"]
        is_new = number not in export.pages
        export.repeated += not is_new
        export.pages[number] = await request.json()
        return JSONResponse(export.receipt(), HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    async def _get_receipt(self, request: Request) -> JSONResponse:
        export = self.exports.get(request.path_params["export"])
        if export is None:
            return JSONResponse({"title": "No such export"}, HTTPStatus.NOT_FOUND)
        return JSONResponse(export.receipt())
