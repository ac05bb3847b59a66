"""The OpenAPI document at /openapi.json, and the page at /docs that shows it.

The page's script and style come from the package fastapi-offline, so that it works where the internet is out
of reach, and loads nothing from anybody else.
"""

from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi

from orchestrator.api.errors import MEDIA_TYPE
from orchestrator.api.shapes.parts import FieldProblem, Problem
from orchestrator.domain.errors import NotFound

ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}
_PAGE_POLICY = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
}
_ASSET_HEADERS = {"Cache-Control": "public, max-age=86400"}
_STATIC = files("fastapi_offline") / "static"

PROBLEM_RESPONSE: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem; its `type` says which.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs() -> Response:
    """The API's documentation, for people."""
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="Orchestrator API",
        swagger_js_url="/docs/swagger-ui-bundle.js",
        swagger_css_url="/docs/swagger-ui.css",
        swagger_favicon_url="/docs/favicon.png",
    )
    page.headers.update(_PAGE_POLICY)
    return page


@router.get("/docs/{name}")
async def docs_asset(name: str) -> Response:
    """The page's script, style and icon."""
    if name not in ASSETS:
        raise NotFound(f"there is no {name} here")
    return Response((_STATIC / name).read_bytes(), headers=_ASSET_HEADERS, media_type=ASSETS[name])


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the problem's schema; made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            servers=app.servers,
        )
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas[FieldProblem.__name__] = problem.pop("$defs")[FieldProblem.__name__]
        schemas[Problem.__name__] = problem
        app.openapi_schema = made
    return app.openapi_schema
