"""python -m sample_apps.zip_job"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount

from sample_apps.command_line import listen, parser, serve, url_of
from sample_apps.serving import Site
from sample_apps.zip_job.app import build_app
from sample_apps.zip_job.service import ZipService


def main() -> None:
    """Serve the app, and the service that zips for it, until told to stop."""
    options = parser("Has files zipped by a service that calls back.", 8503, __package__).parse_args()
    listener = listen(options.host, options.port)
    serve(build_site(f"{url_of(listener)}/service"), listener)


def build_site(service_url: str) -> Starlette:
    """The app, and the service at /service, where the app reaches it at `service_url`."""
    client = httpx.AsyncClient(base_url=service_url, trust_env=False)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    service = ZipService(client, service_url)
    return Starlette(routes=[Mount("/service", service.asgi), Mount("/", Site(build_app(client)))], lifespan=lifespan)


if __name__ == "__main__":
    main()
