"""The sample apps, each run to its end in a few lines."""

from datetime import timedelta

import httpx
import pytest

from app_sdk.testing import Attempt, Response, VirtualClock, run_task, run_task_async
from sample_apps.catalog_import.app import build_app as build_catalog
from sample_apps.catalog_import.upstream import Upstream as Catalog
from sample_apps.hello import app as hello
from sample_apps.rate_limited_export.app import build_app as build_export
from sample_apps.rate_limited_export.upstream import Upstream as ExportTarget
from sample_apps.token_bucket import TokenBucket

pytestmark = pytest.mark.slow


def test_hello() -> None:
    assert run_task(hello, "greet", {"name": "Ada"}).message == "Hello, Ada!"


def test_the_catalogue_comes_whole_whatever_is_lost() -> None:
    clock = VirtualClock()
    app = build_catalog(Catalog(TokenBucket(12.0, 5), clock), now=lambda: clock.now)

    run = run_task(app, "import", clock=clock, lose=[(worker_id, 3) for worker_id in range(10)])

    assert run.status == "succeeded", run.message
    assert len({item["airport"]["external_id"] for item in run.items}) == len(run.items) == 28_298
    assert run.app_state == {"imported": 28_298}
    assert [call.outcome for call in run.calls].count("lost") == 10
    assert 8 <= run.elapsed.total_seconds() <= 20


async def test_the_export_outlasts_two_rate_limits() -> None:
    clock = VirtualClock()
    target = ExportTarget(TokenBucket(0.75, 2), clock)
    gate = TokenBucket(1.0, 2)

    def respond(call: Attempt) -> Response | None:
        wait = gate.take(clock())
        return Response(429, b"", retry_after=timedelta(seconds=wait)) if wait else None

    async with httpx.AsyncClient(transport=httpx.ASGITransport(target.asgi), base_url="http://target") as client:
        run = await run_task_async(build_export(client), "countries", clock=clock, respond=respond)

    assert run.status == "succeeded", run.message
    assert (run.output["countries"], run.output["repeated"]) == (252, 0)
    assert {call.http_status for call in run.calls} == {200, 429}
