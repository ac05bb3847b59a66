"""Both signatures of a request, checked from their specifications: X-Rmd-Signature and Standard Webhooks v1."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence


def rmd_fault(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> str | None:
    """What is wrong with X-Rmd-Signature: the hex HMAC-SHA256 of the body, keyed with the secret as UTF-8."""
    given = headers.get("x-rmd-signature")
    if given is None:
        return "X-Rmd-Signature is missing"
    expected = (hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() for secret in secrets)
    return None if given in expected else "X-Rmd-Signature does not match the body and the secret"


def standard_fault(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> str | None:
    """What is wrong with the three headers of Standard Webhooks."""
    id_, timestamp = headers.get("webhook-id"), headers.get("webhook-timestamp")
    given = headers.get("webhook-signature")
    if id_ is None or timestamp is None or given is None:
        return "a header of Standard Webhooks is missing"
    signed = f"{id_}.{timestamp}.".encode() + body
    for secret in secrets:
        expected = base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()
        if f"v1,{expected}" in given.split():
            return None
    return "webhook-signature does not match id, timestamp, body and secret"


def _key(secret: str) -> bytes:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        return secret.encode()
