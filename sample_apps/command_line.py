"""Serving a sample from the command line."""

import argparse
import os
import socket
import sys
from importlib import import_module
from typing import Any

from app_sdk import App
from app_sdk.app import SECRET_VARIABLE
from sample_apps.serving import MANIFEST_PATH, Asgi, Site

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to
_DRAIN_SECS = 5


def run(app: App, port: int) -> None:
    """Serve an app that has no options of its own; `port` is the default of --port."""
    options = parser(app.name, port).parse_args()
    serve(Site(app), listen(options.host, options.port))


def parser(description: str, port: int, package: str | None = None) -> argparse.ArgumentParser:
    """A parser that knows --host and --port; `package` is what `python -m` was given."""
    options = argparse.ArgumentParser(
        prog=package and f"python -m {package}",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    options.add_argument("--port", type=int, default=port, help="the port to listen on; 0 takes a free one")
    return options


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; ends the program with the reason where there can be none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        sys.exit(f"cannot listen on {host}, port {port}: {error}; --port takes another one")


def url_of(listener: socket.socket) -> str:
    """The URL at which this machine reaches the socket."""
    host, port = listener.getsockname()[:2]
    host = _EVERYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(asgi: Asgi, listener: socket.socket, *, is_app: bool = True) -> None:
    """Serve until SIGINT or SIGTERM; tell first how to install it, if it is an orchestrator's app."""
    uvicorn = _uvicorn()
    config = uvicorn.Config(asgi, log_level="warning", access_log=False, timeout_graceful_shutdown=_DRAIN_SECS)
    _announce(url_of(listener), is_app=is_app)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        sys.exit(130)


def _uvicorn() -> Any:
    try:
        return import_module("uvicorn")
    except ModuleNotFoundError as missing:
        if missing.name != "uvicorn":
            raise
        sys.exit("uvicorn serves the samples, and is not installed: pip install 'webhook-orchestrator[server]'")


def _announce(url: str, *, is_app: bool) -> None:
    sys.stdout.write(f"Listening on {url}\n")
    sys.stdout.flush()
    if not is_app:
        return
    install = f"orchestrator app install {url}{MANIFEST_PATH}"
    sys.stdout.write(f'To install: {install} --secret-key "${SECRET_VARIABLE}"\n')
    if not os.environ.get(SECRET_VARIABLE):
        sys.stdout.write(f"{SECRET_VARIABLE} is not set: until it is, every call is refused\n")
    sys.stdout.flush()
