"""The app: one task, one worker, a page a turn; the upstream's 429 becomes a Retry."""

from http import HTTPStatus
from urllib.parse import quote

import httpx
from pydantic import BaseModel, Field

from app_sdk import App, Context, Continue, Done, Fail, Result, Retry
from sample_apps.rate_limited_export.countries import pages

APP_ID = "app_export"

# For an upstream that says 429 and not for how long.
_DEFAULT_WAIT_SECS = 5.0


class ExportState(BaseModel):
    """How many pages the upstream has taken."""

    exported: int = Field(default=0, ge=0)


def build_app(upstream: httpx.AsyncClient) -> App:
    """The app, exporting to an upstream: a client whose base URL is the upstream's."""
    app = App(APP_ID, "Export", description="Exports the countries to a service with a rate limit.")

    @app.task("countries", state=ExportState, name="Export the countries")
    async def export_countries(ctx: Context[ExportState]) -> Result:
        """Export 252 countries, page by page, as fast as the upstream takes them."""
        number = ctx.state.exported
        if number >= len(pages()):
            return Fail(f"there are {len(pages())} pages; the state says that {number} are exported")
        address = f"exports/{quote(ctx.execution_id, safe='')}"
        response = await upstream.put(f"{address}/pages/{number}", json=pages()[number])
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            wait_secs = _wait_secs(response)
            return Retry(f"the upstream refused page {number} for {wait_secs:g} s", after=wait_secs)
        # Whatever else goes wrong is raised, and the same page is tried again after the task's backoff.
        response.raise_for_status()
        ctx.state.exported += 1
        ctx.progress(ctx.state.exported, len(pages()), unit="pages")
        if ctx.state.exported < len(pages()):
            return Continue(f"page {number} exported")
        receipt = (await upstream.get(address)).raise_for_status().json()
        told = f"{receipt['countries']} countries in {receipt['pages']} pages"
        return Done(f"{told}; the upstream refused {receipt['refused']} times", output=receipt)

    return app


def _wait_secs(response: httpx.Response) -> float:
    told = response.headers.get("retry-after", "")
    return float(told) if told.isdecimal() else _DEFAULT_WAIT_SECS
