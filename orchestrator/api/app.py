"""The API put together."""

from functools import partial

from fastapi import FastAPI
from fastapi.routing import APIRoute

from orchestrator.api import (
    apps,
    callbacks,
    collector,
    documentation,
    event_stream,
    events,
    executions,
    health,
    imports,
    nodes,
    purges,
    rpc,
    simple_tasks,
    subscriptions,
    tasks,
    tokens,
    workspaces,
)
from orchestrator.api.context import ApiContext
from orchestrator.api.errors import install_handlers
from orchestrator.api.guard import Guard

_ABOUT = "Durable tasks that run by calling your app's webhook, step by step."

# FastAPI builds the routes of a router when a request first comes by it: no probe waits for all the others.
_ROUTERS = (
    health.router,
    apps.router,
    tasks.router,
    simple_tasks.router,
    events.router,
    executions.router,
    callbacks.router,
    callbacks.signed_router,
    purges.router,
    imports.router,
    collector.router,
    collector.items_router,
    tokens.router,
    workspaces.router,
    subscriptions.router,
    event_stream.router,
    nodes.router,
    health.status_router,
    rpc.router,
)


def create_api(context: ApiContext) -> FastAPI:
    """The ASGI application of the native API."""
    app = FastAPI(
        title="Orchestrator",
        description=_ABOUT,
        version=context.version,
        servers=[{"url": context.public_url}],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,
        generate_unique_id_function=_operation_id,
        responses=documentation.PROBLEM_RESPONSE,
    )
    app.state.context = context
    app.add_middleware(Guard, body_bytes=context.api_body_bytes)
    install_handlers(app)
    for router in _ROUTERS:
        app.include_router(router)
    app.state.routes = [route for router in _ROUTERS for route in router.routes]
    app.include_router(documentation.router)
    app.openapi = partial(documentation.document, app)  # type: ignore[method-assign]
    return app


def create_health_api(context: ApiContext) -> FastAPI:
    """What a node of the role `engine` serves: whether it lives, and whether it can work."""
    app = FastAPI(title="Orchestrator", version=context.version, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.context = context
    install_handlers(app)
    app.include_router(health.router)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
