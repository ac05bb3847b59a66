"""Signatures of webhook bodies: Rimdian's own header, and the three of Standard Webhooks 1.0.0."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from functools import cached_property

RMD_HEADER = "X-Rmd-Signature"
ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix, not a secret
_SECRET_BYTES = 32
_TIMESTAMP_CHARS = 15


class SignatureError(ValueError):
    """A request that is not proved to come from the holder of the secret."""


def generate_secret() -> str:
    """A new random secret in the form of Standard Webhooks."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


class Signer:
    """Signs any number of bodies with one secret, whose part of the work is done once."""

    def __init__(self, secret: str) -> None:
        """Its methods raise ValueError if the secret is empty."""
        self._secret = secret

    @cached_property
    def _rmd(self) -> hmac.HMAC:
        return hmac.new(_whole(self._secret), digestmod=hashlib.sha256)

    @cached_property
    def _standard(self) -> hmac.HMAC:
        return hmac.new(_standard_key(self._secret), digestmod=hashlib.sha256)

    def rmd_signature(self, body: bytes) -> str:
        """The lower-case hex HMAC-SHA256 of the body, keyed with the UTF-8 bytes of the whole secret."""
        mac = self._rmd.copy()
        mac.update(body)
        return mac.hexdigest()

    def webhook_signature(self, message_id: str, timestamp: int, body: bytes) -> str:
        """The Standard Webhooks signature `v1,<base64>`; `timestamp` in Unix seconds."""
        mac = self._standard.copy()
        mac.update(f"{message_id}.{timestamp}.".encode())
        mac.update(body)
        return "v1," + binascii.b2a_base64(mac.digest(), newline=False).decode()

    def sign(self, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """Every signature header of one request."""
        return {
            RMD_HEADER: self.rmd_signature(body),
            ID_HEADER: message_id,
            TIMESTAMP_HEADER: str(timestamp),
            SIGNATURE_HEADER: self.webhook_signature(message_id, timestamp, body),
        }


def rmd_signature(secret: str, body: bytes) -> str:
    """As `Signer.rmd_signature`, for a single body."""
    return Signer(secret).rmd_signature(body)


def webhook_signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """As `Signer.webhook_signature`, for a single body."""
    return Signer(secret).webhook_signature(message_id, timestamp, body)


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """As `Signer.sign`, for a single request."""
    return Signer(secret).sign(message_id, timestamp, body)


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: int, tolerance_secs: int = 300) -> None:
    """Check that the body was signed with the secret, and lately, as seen from `now` (Unix seconds).

    Raises SignatureError. The Standard Webhooks headers are decisive where one of them is present;
    X-Rmd-Signature, which carries no time and so cannot tell a replay, counts only in their absence.
    """
    given = {name.lower(): value for name, value in headers.items()}
    if any(name in given for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)):
        _verify_standard(secret, given, body, now, tolerance_secs)
    elif RMD_HEADER.lower() in given:
        if not _same(rmd_signature(secret, body), given[RMD_HEADER.lower()].strip()):
            raise SignatureError(f"{RMD_HEADER} does not match the body and the secret")
    else:
        raise SignatureError(f"the request has neither {SIGNATURE_HEADER} nor {RMD_HEADER}")


def _verify_standard(secret: str, given: Mapping[str, str], body: bytes, now: int, tolerance_secs: int) -> None:
    for name in (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER):
        if not given.get(name):
            raise SignatureError(f"the header {name} is missing")
    timestamp = _timestamp(given[TIMESTAMP_HEADER])
    expected = webhook_signature(secret, given[ID_HEADER], timestamp, body)
    if not any(_same(expected, signature) for signature in given[SIGNATURE_HEADER].split()):
        raise SignatureError(f"{SIGNATURE_HEADER} does not match the body and the secret")
    if abs(now - timestamp) > tolerance_secs:
        age = "old" if timestamp < now else "far in the future"
        raise SignatureError(f"{TIMESTAMP_HEADER} is too {age}: {timestamp}, and it is {now} here")


def _timestamp(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _TIMESTAMP_CHARS):
        raise SignatureError(f"{TIMESTAMP_HEADER} is not a number of seconds")
    return int(text)


def _same(expected: str, given: str) -> bool:
    # compare_digest refuses text that is not ASCII, and a header may hold anything.
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass"))


def _whole(secret: str) -> bytes:
    if not secret:
        raise ValueError("the secret is empty")
    return secret.encode()


def _standard_key(secret: str) -> bytes:
    if secret.startswith(SECRET_PREFIX):
        try:
            return base64.b64decode(secret[len(SECRET_PREFIX) :], validate=True) or _whole(secret)
        except binascii.Error:
            return _whole(secret)
    return _whole(secret)
