"""python -m sample_apps.rate_limited_export"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount

from sample_apps.command_line import listen, parser, serve, url_of
from sample_apps.rate_limited_export.app import build_app
from sample_apps.rate_limited_export.rate_gate import RateGate
from sample_apps.rate_limited_export.upstream import Upstream
from sample_apps.serving import Site
from sample_apps.token_bucket import TokenBucket

# The app takes a call a second, the upstream three pages in four: in a run, both refuse now and then.
CALLS_PER_SEC = 1.0
PAGES_PER_SEC = 0.75
BURST = 2


def main() -> None:
    """Serve the app, and the upstream that it exports to, until told to stop."""
    line = parser("Exports the countries of the world through two rate limits.", 8502, __package__)
    options = line.parse_args()
    listener = listen(options.host, options.port)
    client = httpx.AsyncClient(base_url=f"{url_of(listener)}/upstream", trust_env=False)
    serve(build_site(client), listener)


def build_site(client: httpx.AsyncClient) -> Starlette:
    """The app behind its gate, and the upstream at /upstream; `client` is how the app reaches it."""
    app = build_app(client)
    webhooks = RateGate(app, TokenBucket(CALLS_PER_SEC, BURST))
    upstream = Upstream(TokenBucket(PAGES_PER_SEC, BURST))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    routes = [Mount("/upstream", upstream.asgi), Mount("/", Site(app, webhooks))]
    return Starlette(routes=routes, lifespan=lifespan)


if __name__ == "__main__":
    main()
