"""docs/apps.md: its Python examples run, and the tests among them pass.

The examples of a section follow each other, as on the page; every section begins anew.
"""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.sdk.calls import SECRET, call_body, signed

PAGE = Path(__file__).parents[2] / "docs" / "apps.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MOST_COLUMNS = 110

MOUNTING = "Mounting it in another application"
WITHOUT_SDK = "Without the SDK: checking signatures"


def sections() -> dict[str, str]:
    """The text of each section that has examples, every line where it stands on the page."""
    text = PAGE.read_text(encoding="utf-8")
    starts = [match.start() for match in re.finditer(r"^## ", text, re.MULTILINE)]
    found = {}
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        title = text[start:].partition("\n")[0].removeprefix("## ")
        found[title] = "\n" * text.count("\n", 0, start) + text[start:end]
    return {title: section for title, section in found.items() if BLOCK.search(section)}


SECTIONS = sections()


def executed(title: str) -> dict[str, Any]:
    """What the examples of a section define."""
    section = SECTIONS[title]
    namespace: dict[str, Any] = {"__name__": "docs_apps"}
    for block in BLOCK.finditer(section):
        source = "\n" * section.count("\n", 0, block.start(1)) + block[1]
        exec(compile(source, PAGE, "exec"), namespace)
    return namespace


def cases() -> list[Any]:
    found = []
    for title, section in SECTIONS.items():
        for name in re.findall(r"^def (test_\w+)", section, re.MULTILINE):
            found.append(pytest.param(title, name, id=name))
    return found


def test_no_example_is_overlooked() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("```python") == sum(len(BLOCK.findall(section)) for section in SECTIONS.values())
    assert text.count("```python") >= 25
    wide = [line for block in BLOCK.findall(text) for line in block.splitlines() if len(line) > MOST_COLUMNS]
    assert not wide


@pytest.mark.parametrize("title", SECTIONS)
def test_the_examples_run(title: str, django: None) -> None:
    executed(title)


@pytest.mark.parametrize(("title", "name"), cases())
def test_the_tests_in_the_examples_pass(title: str, name: str) -> None:
    executed(title)[name]()


@pytest.fixture
def django() -> None:
    settings = import_module("django.conf").settings
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["app"])


@pytest.fixture
def mounted(django: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("APP_SECRET_KEY", SECRET)
    return executed(MOUNTING)


BODY = call_body("app_hello_greet")


@pytest.mark.parametrize("site", ["fastapi_site", "starlette_site"])
async def test_it_is_mounted_in_asgi_applications(mounted: dict[str, Any], site: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(mounted[site]), base_url="http://app") as client:
        assert (await client.post("/webhooks/", content=BODY)).status_code == 401
        response = await client.post("/webhooks/", content=BODY, headers=signed(BODY))
        assert response.json()["message"] == "Hello!"
        assert (await client.post("/webhooks", content=BODY)).is_redirect


def test_it_is_mounted_in_flask(mounted: dict[str, Any]) -> None:
    transport = httpx.WSGITransport(mounted["flask_site"])
    with httpx.Client(transport=transport, base_url="http://app") as client:
        assert client.post("/webhooks", content=BODY).status_code == 401
        response = client.post("/webhooks", content=BODY, headers=signed(BODY))
        assert (response.status_code, response.json()["message"]) == (200, "Hello!")
        assert client.get("/elsewhere").status_code == 404


def test_it_is_a_view_of_django(mounted: dict[str, Any]) -> None:
    factory = import_module("django.test").RequestFactory()
    request = factory.post("/webhooks", BODY, content_type="application/json", headers=signed(BODY))
    response = mounted["webhook"](request)
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    assert json.loads(response.content)["message"] == "Hello!"
    assert mounted["webhook"].csrf_exempt
    unsigned = factory.post("/webhooks", BODY, content_type="application/json")
    assert mounted["webhook"](unsigned).status_code == 401


def test_signatures_are_checked_without_the_sdk() -> None:
    page = executed(WITHOUT_SDK)
    headers = signed(BODY)
    assert page["handle"](SECRET, BODY, headers) == (200, '{"is_done": true, "message": "Hello, world!"}')
    assert page["handle"](SECRET, BODY + b" ", headers) == (401, "{}")
    assert page["is_from_the_orchestrator"](SECRET, BODY, headers)
    assert not page["is_from_the_orchestrator"](SECRET, BODY + b" ", headers)
    assert not page["is_from_the_orchestrator"](SECRET, BODY, {})
