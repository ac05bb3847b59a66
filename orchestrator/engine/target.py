"""A webhook endpoint, taken apart once, and the refusal of one that no call may be made to."""

from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import SplitResult, quote, urlsplit

from orchestrator.domain.outcome import FailureKind

_DEFAULT_PORTS = {"http": 80, "https": 443}
# What a request line may hold as it stands. The rest is percent-encoded; a "%" is taken to be so already.
_SAFE_IN_TARGET = "%/:?#[]@!$&'()*+,;=-._~"
_MAX_URL_CHARACTERS = 8_000


class Unreachable(Exception):
    """A call ended before a byte of its request was sent; `kind` and the message say why."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. `host` is ASCII, lower case and without brackets; `path` includes the query."""

    is_tls: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        is_default = self.port == _DEFAULT_PORTS["https" if self.is_tls else "http"]
        return host if is_default else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@lru_cache(maxsize=1_000)
def read_url(url: str) -> Target:
    """The target that `url` names. Raises Unreachable (ADDRESS_REFUSED) for a URL that is not called."""
    # urlsplit drops tabs and line breaks in silence: what is checked here must be what is called.
    if len(url) > _MAX_URL_CHARACTERS or not url.isprintable() or " " in url or "\\" in url:
        raise _refused("it is too long, or holds characters that a URL cannot hold")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = _ascii_host(parts.hostname or "")
    except ValueError as error:
        raise _refused(str(error)) from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise _refused(f"its scheme is {parts.scheme or 'missing'!r}, not http or https")
    if "@" in parts.netloc:
        raise _refused("it holds a user name or a password")
    if not host or port == 0:
        raise _refused("it names no host, or port 0")
    return Target(parts.scheme == "https", host, port or _DEFAULT_PORTS[parts.scheme], _request_path(parts))


def _ascii_host(host: str) -> str:
    if ":" in host:
        return host
    name = host.encode("idna").decode("ascii").lower() if not host.isascii() else host
    # The name goes into the Host header as it stands.
    if not all(character.isalnum() or character in "-._" for character in name):
        raise ValueError("its host holds characters that a host name cannot hold")
    return name


def _request_path(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe=_SAFE_IN_TARGET)
    return f"{path}?{quote(parts.query, safe=_SAFE_IN_TARGET)}" if parts.query else path


def _refused(reason: str) -> Unreachable:
    return Unreachable(FailureKind.ADDRESS_REFUSED, f"the endpoint is not a URL that can be called: {reason}")
