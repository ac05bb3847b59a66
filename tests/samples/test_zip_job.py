"""The app that awaits a callback, and the service that calls back."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app_sdk import App
from app_sdk.protocol.manifest import read_manifest
from app_sdk.testing import TaskRun
from sample_apps.zip_job.app import build_app
from sample_apps.zip_job.service import WAITS_SECS, ZipService

FILES = {"a.txt": "a" * 1000, "b.txt": "b"}


class Orchestrator:
    """Takes callbacks with these answers, one after the other, and then with 200."""

    def __init__(self) -> None:
        self.answers: list[int | Exception] = []
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.waits: list[float] = []

    def take(self, request: httpx.Request) -> httpx.Response:
        self.said.append((str(request.url), json.loads(request.content)))
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer)

    async def sleep(self, secs: float) -> None:
        self.waits.append(secs)


@pytest.fixture
def orchestrator() -> Orchestrator:
    return Orchestrator()


@pytest.fixture
def service(orchestrator: Orchestrator) -> ZipService:
    to_orchestrator = httpx.AsyncClient(transport=httpx.MockTransport(orchestrator.take))
    return ZipService(to_orchestrator, "http://service", orchestrator.sleep)


@pytest.fixture
async def app(service: ZipService) -> AsyncIterator[App]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.asgi), base_url="http://service") as client:
        yield build_app(client)


def called_back(run: TaskRun, orchestrator: Orchestrator) -> None:
    url, said = orchestrator.said[-1]
    assert url.endswith(".0.0.signature")
    run.callback(0, said.pop("status"), **said)


def test_the_manifest_is_valid() -> None:
    manifest = read_manifest(build_app(httpx.AsyncClient()).manifest("http://127.0.0.1:8503/webhooks"))
    assert [task.id for task in manifest.tasks] == ["app_zip_pack"]


async def test_the_files_are_zipped_while_the_worker_awaits(
    app: App, service: ZipService, orchestrator: Orchestrator
) -> None:
    # The first answer is lost: the app is called again, and the service knows the job.
    run = await TaskRun(app, "pack", {"files": FILES}, lose=[(0, 0)]).finish_async()
    assert (run.status, run.workers[0].status, run.message) == ("running", "awaiting", "2 files handed over")
    await service.settled()
    assert len(orchestrator.said) == 1
    called_back(run, orchestrator)
    assert (run.status, run.logs) == ("succeeded", ["packed a.txt", "packed b.txt"])
    location = run.output["zipFileLocation"]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.asgi)) as anybody:
        zipped = (await anybody.get(location)).content
        assert (await anybody.get(f"{location}x")).status_code == 404
    assert run.subtext == f"2 files, {len(zipped):,} bytes"
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == FILES


async def test_without_files_the_service_reports_a_failure(
    app: App, service: ZipService, orchestrator: Orchestrator
) -> None:
    run = await TaskRun(app, "pack").finish_async()
    await service.settled()
    called_back(run, orchestrator)
    assert run.message == "worker 0: the callback reported a failure: there are no files to zip"
    assert len(run.calls) == 1


@pytest.mark.parametrize(
    ("answers", "sent"), [([httpx.ConnectError("down"), 503], 3), ([409], 1), ([500] * 10, len(WAITS_SECS) + 1)]
)
async def test_a_callback_is_sent_until_somebody_takes_it(
    app: App, service: ZipService, orchestrator: Orchestrator, answers: list[int | Exception], sent: int
) -> None:
    orchestrator.answers = answers
    await TaskRun(app, "pack", {"files": FILES}).finish_async()
    await service.settled()
    assert len(orchestrator.said) == sent
    assert orchestrator.waits == list(WAITS_SECS[: sent - 1])
