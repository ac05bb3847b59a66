"""Signing, for histories that are made by hand: the lines of the logs carry what a signer would have sent."""

import base64
import hashlib
import hmac
import json
from typing import Any

from tests.history.json_lines import Json

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
COLLECTOR_SECRET = "the workspace's secret"


def signed(body: str, key: str) -> dict[str, str]:
    """The headers of a call."""
    rmd = hmac.new(SECRET.encode(), body.encode(), hashlib.sha256).hexdigest()
    content = f"{key}.1700000000.".encode() + body.encode()
    standard = hmac.new(base64.b64decode(SECRET[6:]), content, hashlib.sha256).digest()
    return {
        "webhook-id": key,
        "idempotency-key": key,
        "webhook-timestamp": "1700000000",
        "webhook-signature": f"v1,{base64.b64encode(standard).decode()}",
        "x-rmd-signature": rmd,
    }


def delivery_headers(body: str, key: str) -> dict[str, str]:
    """The headers of a delivery."""
    rmd = hmac.new(COLLECTOR_SECRET.encode(), body.encode(), hashlib.sha256).hexdigest()
    return {"idempotency-key": key, "x-rmd-signature": rmd}


def resend(line: Json, **changes: Any) -> None:
    """Change the turn in a request's body, and sign it anew."""
    payload = json.loads(line["body"])
    payload["task_exec_worker"].update(changes)
    line["body"] = json.dumps(payload)
    line["headers"] = signed(line["body"], line["headers"]["webhook-id"])


def rename(line: Json, key: str) -> None:
    """Give a request another key, and sign it anew."""
    line["headers"] = signed(line["body"], key)


def repack(line: Json, items: list[Any]) -> None:
    """Change the items of a delivery, and sign it anew."""
    line["body"] = json.dumps({"workspace_id": "default", "items": items})
    line["headers"] = delivery_headers(line["body"], line["headers"]["idempotency-key"])
