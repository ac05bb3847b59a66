"""The app: it hands the files to a zip service, and awaits the service's callback; nothing is held meanwhile."""

from datetime import timedelta
from urllib.parse import quote

import httpx
from pydantic import BaseModel, Field

from app_sdk import App, Await, Context

APP_ID = "app_zip"
LONGEST_WAIT = timedelta(hours=1)


class ZipState(BaseModel):
    """The texts of the files to be zipped, by name."""

    files: dict[str, str] = Field(default_factory=dict)


def build_app(service: httpx.AsyncClient) -> App:
    """The app, handing its jobs to a service: a client whose base URL is the service's."""
    app = App(APP_ID, "Zip", description="Has files zipped by a service that calls back.")

    @app.task("pack", state=ZipState, name="Pack files")
    async def pack(ctx: Context[ZipState]) -> Await:
        """Hand the files over, with the URL to call back at."""
        job = {"files": ctx.state.files, "callback_url": ctx.callback_url}
        # The key is the same if this call is made again: the service then knows the job, and does it once.
        response = await service.put(f"jobs/{quote(ctx.key, safe='')}", json=job)
        response.raise_for_status()
        return Await(f"{len(ctx.state.files)} files handed over", timeout=LONGEST_WAIT)

    return app
