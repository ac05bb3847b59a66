"""Documents that the command line names: JSON itself, @file, a path, a URL, or - for standard input."""

import sys
from datetime import datetime
from pathlib import Path

import httpx

from app_sdk.protocol.strict_json import JsonError, JsonValue, loads
from orchestrator.cli.api_client import is_loopback
from orchestrator.cli.failures import Misused, Unreachable
from orchestrator.cli.formats import one_line

STDIN = "-"
_TIMEOUT_SECS = 20


def read_source(source: str) -> bytes:
    """What a path, a URL or - holds. Raises Misused, Unreachable."""
    if source == STDIN:
        return sys.stdin.buffer.read()
    if source.startswith(("http://", "https://")):
        return _download(source)
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise Misused(f"{source} cannot be read: {error.strerror}") from error


def read_argument(argument: str, name: str) -> JsonValue:
    """The JSON value of an argument, itself or from @file or -. Raises Misused, which calls it `name`."""
    if argument == STDIN or argument.startswith("@"):
        data = read_source(argument.removeprefix("@"))
    else:
        data = argument.encode("utf-8", "surrogateescape")
    return read_json(data, name)


def read_object(argument: str, name: str) -> dict[str, JsonValue]:
    """The same, for a value that has to be a JSON object."""
    return as_object(read_argument(argument, name), name)


def read_json(data: bytes, name: str) -> JsonValue:
    """Read strict JSON; raises Misused with the place of the fault."""
    try:
        return loads(data)
    except JsonError as error:
        raise Misused(f"{name} is not JSON: {error.problem} ({error.path})") from None


def as_object(value: JsonValue, name: str) -> dict[str, JsonValue]:
    """The value, which has to be a JSON object; raises Misused."""
    if not isinstance(value, dict):
        raise Misused(f'{name} must be a JSON object, such as {{"from": 1}}')
    return value


def read_time(text: str) -> str:
    """Check an RFC 3339 time with its zone, and return it as it is; raises Misused."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Misused(f"{text!r} is not a time with a zone; write it like 2026-11-21T08:30:00Z")
    return text


def _download(url: str) -> bytes:
    try:
        outside = not is_loopback(url)
        response = httpx.get(url, timeout=_TIMEOUT_SECS, follow_redirects=True, trust_env=outside)
        response.raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreachable(f"{url} cannot be read: {one_line(error) or type(error).__name__}") from error
    return response.content
