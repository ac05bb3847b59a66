"""The routes' own classes: strict JSON for bodies, and the right token before anything is read."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.responses import Response

from app_sdk.protocol import strict_json
from app_sdk.protocol.strict_json import ENVELOPE_DEPTH, MAX_DEPTH
from orchestrator.api.context import ApiContext
from orchestrator.api.errors import NotAccepted
from orchestrator.api.roles import may
from orchestrator.domain.errors import Conflict, Forbidden, TooLarge, Unauthenticated
from orchestrator.service import tokens
from orchestrator.service.callback_urls import CallbackSigner
from orchestrator.service.tokens import Caller
from orchestrator.store.duplicates import is_duplicate

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

_DUPLICATE = "somebody else wrote the same thing at the same instant; look, and try again if need be"
SCHEME = HTTPBearer(auto_error=False, description="A token, as `orchestrator token create` prints it.")


class StrictRequest(Request):
    """A request whose JSON is read strictly: numbers survive, what could be read in two ways is refused."""

    async def json(self) -> Any:
        """Raises JsonError, which names the path; NotAccepted where the body does not call itself JSON."""
        if not hasattr(self, "_json"):
            _check_media_type(self.headers.get("content-type"))
            self._json = strict_json.loads(await self.body(), max_depth=MAX_DEPTH + ENVELOPE_DEPTH)
        return self._json

    async def read_capped(self, most_bytes: int) -> None:
        """Read the body, for whoever asks for it later. Raises TooLarge, having kept no more of it than is allowed."""
        declared = self.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > most_bytes:
            raise _too_large(most_bytes)
        body = bytearray()
        async for chunk in self.stream():
            body += chunk
            if len(body) > most_bytes:
                raise _too_large(most_bytes)
        self._body = bytes(body)


class StrictRoute(APIRoute):
    """A route that reads strict JSON, and knows a race that the database has decided."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            try:
                await self.admit(strict)
                # Read here, since the framework would hide why it could not.
                if self.body_field is not None and await strict.body():
                    await strict.json()
                return await handle(strict)
            except Exception as error:
                if is_duplicate(error):
                    raise Conflict(_DUPLICATE) from error
                raise

        return handle_strictly

    async def admit(self, request: StrictRequest) -> None:
        """Everybody may."""


class GuardedRoute(StrictRoute):
    """A route for the roles that the table allows; nothing of the body is read for anybody else."""

    async def admit(self, request: StrictRequest) -> None:
        """Raises Unauthenticated or Forbidden."""
        caller = await self.authenticate(request)
        if not may(caller.role, self.name):
            raise Forbidden(f"the role {caller.role} may not do this ({self.name})", role=caller.role.value)
        request.state.caller = caller

    async def authenticate(self, request: Request) -> Caller:
        """By a bearer token. Raises Unauthenticated."""
        return await _caller_of(request, _bearer(request))


class KeyedRoute(GuardedRoute):
    """A guarded route that takes VibeIQ's pair of keys, too."""

    async def authenticate(self, request: Request) -> Caller:
        """By a bearer token, or by X-Api-Key (a token) with X-Api-Org (its workspace). Raises Unauthenticated."""
        key = request.headers.get("x-api-key", "").strip()
        if not key or "authorization" in request.headers:
            return await super().authenticate(request)
        caller = await _caller_of(request, key)
        if request.headers.get("x-api-org", "").strip() != caller.workspace_id:
            raise Unauthenticated("X-Api-Org does not name the workspace of the token in X-Api-Key")
        return caller


class SignedRoute(StrictRoute):
    """A route whose address, ending in `{signed}`, is the permission; nothing of the body is read for a forged one."""

    async def admit(self, request: StrictRequest) -> None:
        """Raises NotFound; TooLarge for more than a worker's state may have, as strangers were given the address."""
        context: ApiContext = request.app.state.context
        request.state.signed = CallbackSigner(context.vault).read(request.path_params["signed"])
        await request.read_capped(context.limits.worker_state_bytes)


def guarded_router(tag: str) -> APIRouter:
    """A router whose routes need a token."""
    return APIRouter(route_class=GuardedRoute, tags=[tag], dependencies=[Depends(SCHEME)])


def keyed_router(tag: str) -> APIRouter:
    """A router whose routes need a token, or VibeIQ's pair of keys."""
    return APIRouter(route_class=KeyedRoute, tags=[tag], dependencies=[Depends(SCHEME)])


def signed_router(tag: str) -> APIRouter:
    """A router whose routes need a signed address."""
    return APIRouter(route_class=SignedRoute, tags=[tag])


def open_router(tag: str) -> APIRouter:
    """A router whose routes need none."""
    return APIRouter(route_class=StrictRoute, tags=[tag])


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("send a token: Authorization: Bearer orch_…")
    return token.strip()


async def _caller_of(request: Request, token: str) -> Caller:
    context: ApiContext = request.app.state.context
    return await context.database.read(tokens.authenticate, token)


def _too_large(most_bytes: int) -> TooLarge:
    return TooLarge(f"a body may have {most_bytes:,} bytes at this address", limit_bytes=most_bytes)


def _check_media_type(given: str | None) -> None:
    media_type = (given or "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise NotAccepted(f"send JSON with Content-Type: application/json, not {media_type}")
