"""Which server a verb talks to, and with which token."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.api_client import ApiClient, is_loopback
from orchestrator.cli.failures import Misused, Refused
from orchestrator.cli.flags import read_flags
from orchestrator.settings import Settings

_PANEL = "Server"

UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="The server (or ORCHESTRATOR_URL).", show_default=False, rich_help_panel=_PANEL),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        help="The bearer token (or ORCHESTRATOR_TOKEN). A local server's is found by itself.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Read this file instead of ./config.toml.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]


def remote(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb, whose first parameter is the ApiClient, the options that name the server."""

    @functools.wraps(verb)
    def command(url: str | None, token: str | None, config: Path | None, **arguments: object) -> None:
        with connect(read_settings(url, token, config)) as api:
            verb(api, **arguments)

    own = list(inspect.signature(verb).parameters.values())[1:]
    parameters = [*own, *_SERVER_OPTIONS.values()]
    # Typer reads the options from the signature.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def read_settings(url: str | None, token: str | None, config: Path | None) -> Settings:
    """The settings with the flags over them; raises Misused."""
    return read_flags(config, {"cli": {"url": url, "token": token}})


def connect(settings: Settings) -> ApiClient:
    """A client for the server that the settings name. Raises Misused, Refused."""
    url = server_url(settings)
    return ApiClient(url, find_token(settings, url))


def server_url(settings: Settings) -> str:
    """The server's address. Raises Misused where none is known."""
    if settings.cli.url is not None:
        return settings.cli.url
    if settings.server.port == 0 and settings.server.public_url is None:
        raise Misused(
            "server.port is 0, so that the server's address is not known",
            "Name it with --url or ORCHESTRATOR_URL; the server prints it when it starts.",
        )
    return settings.server.url()


def find_token(settings: Settings, url: str) -> str | None:
    """The token to use: the given one, else a local server's admin token, else none. Raises Refused."""
    if settings.cli.token is not None:
        return settings.cli.token.get_secret_value()
    # The admin token of this machine's server is nobody else's business.
    if not is_loopback(url) and url != settings.server.url():
        return None
    if settings.security.admin_token is not None:
        return settings.security.admin_token.get_secret_value()
    path = admin_token_path(settings)
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(
            f"the admin token in {path} cannot be read: {error}",
            "Run this as the server's user, or give a token: --token or ORCHESTRATOR_TOKEN.",
        ) from error


def admin_token_path(settings: Settings) -> Path:
    """Where a local server keeps its first admin token."""
    return settings.server.data_dir / "admin-token"


_SERVER_OPTIONS = {
    name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
    for name, annotation in {"url": UrlOption, "token": TokenOption, "config": ConfigOption}.items()
}
