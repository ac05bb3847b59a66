"""The import of a catalogue, from its launch to its report."""

import asyncio
import sys
from datetime import UTC, datetime
from typing import Any

import airportsdata
import httpx
import pytest

from app_sdk.protocol.manifest import read_manifest
from sample_apps.catalog_import.__main__ import BURST, PAGES_PER_SEC, main
from sample_apps.catalog_import.app import build_app
from sample_apps.catalog_import.datasets import DATASETS, records
from sample_apps.catalog_import.upstream import TooManyRequests, Upstream
from sample_apps.serving import Site
from sample_apps.token_bucket import TokenBucket
from tests.samples.virtual_run import Lane, VirtualClock, VirtualRun

pytestmark = pytest.mark.slow

AIRPORTS = 28_298
TOWNS = [{"external_id": f"{number:03}", "name": f"Town {number}"} for number in range(95)]
FINISHED = {"dataset": "cities", "page_size": 4, "slice": {"start": 0, "stop": 9, "cursor": 9}}


def new_run(clock: VirtualClock) -> VirtualRun:
    upstream = Upstream(TokenBucket(PAGES_PER_SEC, BURST), clock)
    app = build_app(upstream, now=lambda: datetime.fromtimestamp(clock.now, UTC))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(Site(app)), base_url="http://catalogue")
    return VirtualRun(client, clock, "app_catalog", "app_catalog_import")


@pytest.fixture(scope="module")
def airports_run() -> VirtualRun:
    """The import of all airports, at its end; it began at 0 on its clock."""
    run = new_run(VirtualClock())
    asyncio.run(run.run())
    return run


@pytest.fixture
def towns_run(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> VirtualRun:
    """An import of few records, which is yet to begin."""
    monkeypatch.setattr("sample_apps.catalog_import.upstream.records", lambda _: TOWNS)
    return new_run(clock)


def imported(run: VirtualRun) -> list[str]:
    return [item[item["kind"]]["external_id"] for item in run.items]


def test_the_manifest_is_valid() -> None:
    app = build_app(Upstream(TokenBucket(1, 1)))
    manifest = read_manifest(app.manifest("http://127.0.0.1:8500/webhooks"))
    assert [task.id for task in manifest.tasks] == ["app_catalog_import"]


def test_ten_workers_import_every_airport_once(airports_run: VirtualRun) -> None:
    assert len(airports_run.items) == AIRPORTS
    assert sorted(imported(airports_run)) == sorted(airportsdata.load("ICAO"))
    assert [lane.status for lane in airports_run.lanes.values()] == ["done"] * 10
    assert airports_run.app_state == {"imported": AIRPORTS}


def test_the_report_has_the_totals_and_each_workers_part(airports_run: VirtualRun) -> None:
    output = airports_run.output
    assert (output["imported"], output["counter"]) == (AIRPORTS, AIRPORTS)
    assert list(output["workers"]) == [str(worker_id) for worker_id in range(10)]
    assert sum(worker["imported"] for worker in output["workers"].values()) == AIRPORTS
    assert airports_run.message.startswith("28,298 airports imported by 10 workers in ")
    assert airports_run.message.endswith(f"the upstream asked {output['waits']} times to wait")


def test_it_takes_about_ten_seconds_in_which_all_workers_come_forward(airports_run: VirtualRun) -> None:
    output = airports_run.output
    assert 8 <= output["seconds"] <= 15
    seconds = [worker["seconds"] for worker in output["workers"].values()]
    assert output["seconds"] - 1 <= min(seconds) <= max(seconds) <= output["seconds"]
    lanes = airports_run.lanes.values()
    assert [lane.progress["current"] for lane in lanes] == [lane.progress["total"] for lane in lanes]
    assert {lane.progress["unit"] for lane in lanes} == {"airports"}


def test_a_page_costs_one_refusal_at_most(airports_run: VirtualRun) -> None:
    """Ten workers that were all told the same time would come in vain nine times out of ten."""
    plan, report = 1, 1
    assert len(airports_run.calls) <= plan + 2 * 120 + report


async def test_a_page_whose_answer_was_lost_is_imported_once(towns_run: VirtualRun) -> None:
    towns_run.loses = lambda call: call % 3 == 0
    await towns_run.run({"page_size": 2})
    assert sorted(imported(towns_run)) == [town["external_id"] for town in TOWNS]
    assert towns_run.app_state == {"imported": len(TOWNS)}


async def test_a_second_run_counts_afresh(towns_run: VirtualRun) -> None:
    await towns_run.run()
    towns_run.lanes.clear()
    await towns_run.run()
    assert len(towns_run.items) == 2 * len(TOWNS)
    assert towns_run.app_state == {"imported": len(TOWNS)}


async def test_the_input_chooses_the_data_set_and_the_page_size(towns_run: VirtualRun) -> None:
    await towns_run.run({"dataset": "cities", "page_size": 4})
    assert {item["kind"] for item in towns_run.items} == {"city"}
    assert towns_run.message.startswith("95 cities imported by 10 workers")
    assert {lane.step - lane.state["waits"] for lane in towns_run.lanes.values() if lane.worker_id} == {3}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"dataset": "ports"}, "dataset: Input should be 'airports' or 'cities'"),
        ({"datset": "cities"}, "datset: Extra inputs are not permitted"),
        ({"page_size": 0}, "page_size: Input should be greater than or equal to 1"),
        ({"slice": {"start": 5, "stop": 9, "cursor": 4}}, "a slice has start <= cursor <= stop"),
    ],
)
async def test_a_wrong_input_fails_at_once_and_is_named(
    towns_run: VirtualRun, given: dict[str, Any], told: str
) -> None:
    await towns_run.run(given)
    assert (len(towns_run.calls), towns_run.lanes[0].status) == (1, "failed")
    assert told in towns_run.message


async def test_called_without_results_after_its_slice_worker_0_waits_again(towns_run: VirtualRun) -> None:
    """So it is when the execution had failed while worker 0 waited, and is retried."""
    await towns_run.run(FINISHED)
    assert not towns_run.items
    assert (towns_run.lanes[0].step, towns_run.lanes[0].status) == (2, "done")


async def test_there_is_no_report_of_success_when_a_helper_failed(towns_run: VirtualRun) -> None:
    towns_run.lanes[1] = Lane(1, {}, 0, status="failed")
    await towns_run.run(FINISHED)
    assert towns_run.lanes[0].status == "failed"
    assert towns_run.message == "the import is not complete: worker 1 failed"


async def test_a_catalogue_that_has_shrunk_is_told(towns_run: VirtualRun) -> None:
    await towns_run.run({"slice": {"start": 90, "stop": 100, "cursor": 90}})
    assert towns_run.lanes[0].status == "failed"
    assert towns_run.message == "the catalogue has shrunk since the import was planned: nothing at 99"


@pytest.mark.parametrize(
    ("option", "value"),
    [("--page-size", "0"), ("--page-size", "10001"), ("--pages-per-sec", "0"), ("--pages-per-sec", "nan")],
)
def test_a_wrong_option_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["catalog_import", "--port", "0", option, value])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert f"error: {option}: " in capsys.readouterr().err


@pytest.mark.slow
def test_there_are_234908_cities() -> None:
    cities = DATASETS["cities"].read()
    assert len({city["external_id"] for city in cities}) == len(cities) == 234_908
    assert {"name", "countrycode", "population"} <= cities[0].keys()


def test_a_catalogue_is_read_once() -> None:
    assert records("airports") is records("airports")


def test_the_upstream_refuses_over_its_limit(clock: VirtualClock) -> None:
    upstream = Upstream(TokenBucket(2, 1), clock)
    upstream.page("airports", range(1))
    with pytest.raises(TooManyRequests) as refusal:
        upstream.page("airports", range(1))
    assert refusal.value.retry_after_secs == pytest.approx(0.5)
