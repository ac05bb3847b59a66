"""Declaring Python tasks, and sending them, without a worker."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import respx

from app_sdk import Application, NotFoundError, OrchestratorError, ScheduledTask, get_status, on_event, send_task, task
from app_sdk.protocol.manifest import TaskManifest, read_manifest
from app_sdk.tasks import declared
from app_sdk.tasks.declared import PythonTask, declared_in
from app_sdk.worker.supervisor import app_id_of

MODULE = __name__
URL = "http://orchestrator.test"


@pytest.fixture(autouse=True)
def declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declared, "_declared", {})
    monkeypatch.setattr(declared, "_scheduled", {})


def enrich(app: Application, company_id: int, *, deep: bool = False) -> str:
    """Look a company up.

    And write what was found.
    """
    return f"{app.name} {company_id} {deep}"


async def report(app: Application) -> str:
    return app.name


def manifest_of(*tasks: PythonTask[Any, Any] | ScheduledTask) -> list[TaskManifest]:
    entries = [{"id": f"app_crm_{one.name}", **one.entry()} for one in tasks]
    return read_manifest({"id": "app_crm", "name": "CRM", "tasks": entries}).tasks


class TestDeclared:
    def test_it_is_called_as_the_function_it_is(self) -> None:
        declared_task = task(enrich)
        assert declared_task(Application("acme"), 5, deep=True) == "acme 5 True"
        assert vars(declared_task)["__name__"] == "enrich"
        assert declared_task.__doc__ == enrich.__doc__

    def test_outside_of_a_run_what_it_tells_goes_nowhere(self) -> None:
        app = Application("acme")
        app.log("a line")
        app.progress(1, 2, "things")
        with pytest.raises(ValueError, match="whole"):
            app.progress(0.5)  # type: ignore[arg-type]
        assert (app.task_id, app.attempt, repr(app)) == (None, 1, "Application('acme')")

    def test_early_it_is_begun_once(self) -> None:
        [entry] = manifest_of(task(enrich))
        assert (entry.name, entry.aliases) == (f"{MODULE}.enrich", [f"{MODULE}.enrich"])
        assert entry.description == "Look a company up."
        assert (entry.transport, entry.delivery, entry.on_multiple_exec) == ("pull", "at_most_once", "allow")
        assert entry.allowed_retry_count == 0

    def test_late_it_is_made_again_three_times(self) -> None:
        [entry] = manifest_of(task(acks_late=True)(enrich))
        assert (entry.delivery, entry.allowed_retry_count) == ("at_least_once", 3)

    def test_every_option_is_in_the_manifest(self) -> None:
        [entry] = manifest_of(
            task(
                name="crm.enrich",
                description="Another",
                acks_late=True,
                max_retries=7,
                retry_delay=timedelta(minutes=1),
                max_duration=90,
                concurrency_limit=2,
            )(enrich)
        )
        assert (entry.name, entry.description) == ("crm.enrich", "Another")
        assert (entry.allowed_retry_count, entry.retry_delay) == (7, 60_000)
        assert (entry.max_duration_secs, entry.concurrency_limit) == (90, 2)

    def test_retries_need_late_acknowledgement(self) -> None:
        with pytest.raises(ValueError, match="acks_late=True"):
            task(max_retries=1)(enrich)

    def test_a_function_within_a_function_needs_a_name(self) -> None:
        def inner(app: Application) -> None:
            """Nothing."""

        with pytest.raises(ValueError, match="top of a module"):
            task(inner)
        assert task(name="inner")(inner).name == "inner"

    def test_a_name_is_given_once(self) -> None:
        first = task(enrich)
        assert task(enrich).name == first.name, "a module that is read anew"
        with pytest.raises(ValueError, match="another task"):
            task(name=first.name)(report)

    def test_a_worker_serves_what_its_modules_declare(self) -> None:
        enriching = task(enrich)
        nightly = ScheduledTask(enriching, [1], schedule="0 2 * * *")
        assert declared_in([MODULE]) == {enriching.name: enriching, nightly.name: nightly}
        assert declared_in([MODULE.rpartition(".")[0]]).keys() == {enriching.name, nightly.name}
        assert declared_in([MODULE[:-1]]) == {}

    def test_the_app_is_the_top_package(self) -> None:
        assert app_id_of("My_Package2.tasks.enrich") == "app_mypackage2"


class TestSchedules:
    def test_it_is_launched_with_its_arguments(self) -> None:
        nightly = ScheduledTask(
            task(enrich),
            [7],
            {"deep": True},
            schedule="0 2 * * *",
            timezone="Europe/Paris",
            application="acme",
            jitter=5,
        )
        [entry] = manifest_of(nightly)
        schedule = entry.effective_schedule
        assert schedule is not None
        assert (entry.name, entry.aliases) == (f"{MODULE}.enrich.scheduled", [f"{MODULE}.enrich.scheduled"])
        assert (schedule.cron, schedule.timezone, schedule.jitter_secs) == ("0 2 * * *", "Europe/Paris", 5)
        assert schedule.state == {"application": "acme", "args": [7], "kwargs": {"deep": True}}
        assert schedule.application == "acme"

    def test_an_interval(self) -> None:
        [entry] = manifest_of(ScheduledTask(task(report), schedule=timedelta(minutes=5), name="often"))
        schedule = entry.effective_schedule
        assert schedule is not None
        assert (entry.name, schedule.interval_secs) == (f"{MODULE}.report.often", 300)
        assert schedule.application == MODULE.partition(".")[0]

    @pytest.mark.parametrize("args", [[], [1, 2]])
    def test_arguments_that_do_not_fit(self, args: list[int]) -> None:
        with pytest.raises(ValueError, match="cannot be called so"):
            ScheduledTask(task(enrich), args, schedule="0 2 * * *")

    def test_two_of_a_task_need_names(self) -> None:
        enriching = task(enrich)
        ScheduledTask(enriching, [1], schedule="0 2 * * *")
        with pytest.raises(ValueError, match="name="):
            ScheduledTask(enriching, [2], schedule="0 3 * * *")

    def test_an_interval_has_no_time_zone(self) -> None:
        with pytest.raises(ValueError, match="cron"):
            ScheduledTask(task(report), schedule=5, timezone="UTC")


class TestHandlers:
    def test_its_patterns_are_in_the_manifest(self) -> None:
        @on_event("core.task.#.failure.v1", "core.task.crm.*.success.v1", name="handler")
        def handler(app: Application, event: dict[str, Any]) -> str:
            return str(event["type"])

        [entry] = manifest_of(handler)
        assert entry.on_events == ["core.task.#.failure.v1", "core.task.crm.*.success.v1"]
        assert handler(Application("acme"), {"type": "x"}) == "x"
        with pytest.raises(ValueError, match="launched by events"):
            send_task(handler, "acme", {})

    @pytest.mark.parametrize("patterns", [(), ("a b",), ("**",)])
    def test_what_is_no_pattern(self, patterns: tuple[str, ...]) -> None:
        with pytest.raises(ValueError, match=r"core|word"):
            on_event(*patterns, name="handler")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[respx.MockRouter]:
    monkeypatch.setenv("ORCHESTRATOR_URL", URL)
    monkeypatch.setenv("ORCHESTRATOR_TOKEN", "orch_sender")
    with respx.mock(base_url=URL) as router:
        yield router


def an_execution(status: str, worker: str, **more: Any) -> dict[str, Any]:
    return {"id": "e1", "task_id": "t", "status": status, "workers": [{"worker_id": 0, "status": worker, **more}]}


class TestSent:
    def test_it_is_launched_for_the_application(self, server: respx.MockRouter) -> None:
        route = server.post("/v1/executions").respond(201, json={"id": "e1", "task_id": "t", "status": "running"})
        status = send_task("crm.tasks.enrich", Application("acme"), 5, deep=True)
        request = route.calls.last.request
        assert json.loads(request.content) == {
            "task_id": "crm.tasks.enrich",
            "application": "acme",
            "state": {"application": "acme", "args": [5], "kwargs": {"deep": True}},
        }
        assert request.headers["authorization"] == "Bearer orch_sender"
        assert status.to_dict() == {"id": "e1", "status": "PENDING", "result": None}
        assert not status.is_completed()

    def test_a_task_that_is_at_hand_is_held_against_its_signature(self, server: respx.MockRouter) -> None:
        route = server.post("/v1/executions").respond(201, json={"id": "e1", "task_id": "t", "status": "running"})
        enriching = task(enrich)
        with pytest.raises(ValueError, match="missing a required argument: 'company_id'"):
            send_task(enriching, "acme")
        assert not route.called
        send_task(enriching, "acme", 5)
        assert json.loads(route.calls.last.request.content)["task_id"] == f"{MODULE}.enrich"

    def test_a_name_that_nobody_registered(self, server: respx.MockRouter) -> None:
        server.post("/v1/executions").respond(404, json={"title": "There is no such thing"})
        with pytest.raises(NotFoundError):
            send_task("crm.tasks.enrich", "acme")

    @pytest.mark.parametrize(
        ("execution", "status", "result"),
        [
            (an_execution("pending", "ready"), "PENDING", None),
            (an_execution("running", "ready"), "PENDING", None),
            (an_execution("running", "calling"), "STARTED", None),
            (an_execution("succeeded", "done") | {"output": {"a": 1}}, "SUCCESS", {"a": 1}),
            (an_execution("succeeded", "done") | {"output": {"result": 5}}, "SUCCESS", 5),
            (an_execution("succeeded", "done") | {"output": {"result": {"result": 5}}}, "SUCCESS", {"result": 5}),
            (an_execution("succeeded", "done") | {"output": None}, "SUCCESS", None),
            (an_execution("failed", "failed", message="the executor reported: E: x"), "FAILURE", "E: x"),
            (an_execution("failed", "failed", message=None) | {"message": "too long"}, "FAILURE", "too long"),
            (an_execution("aborted", "aborted", message=None) | {"message": "by Ada"}, "FAILURE", "by Ada"),
        ],
    )
    def test_how_it_stands(self, server: respx.MockRouter, execution: dict[str, Any], status: str, result: Any) -> None:
        route = server.get("/v1/executions/e1", params={"application": "a&b"}).respond(200, json=execution)
        seen = get_status("e1", "a&b")
        assert route.called
        assert (seen.status, seen.result) == (status, result)
        assert seen.is_completed() == (status in ("SUCCESS", "FAILURE"))

    def test_somebody_elses_is_not_found(self, server: respx.MockRouter) -> None:
        server.get("/v1/executions/e1", params={"application": "other"}).mock(return_value=httpx.Response(404))
        with pytest.raises(NotFoundError):
            get_status("e1", "other")

    def test_without_a_token_nothing_is_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ORCHESTRATOR_TOKEN", raising=False)
        with pytest.raises(OrchestratorError, match="ORCHESTRATOR_TOKEN"):
            send_task("crm.tasks.enrich", "acme")
