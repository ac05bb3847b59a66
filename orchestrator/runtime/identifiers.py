"""New ids: UUIDv7 (RFC 9562), so that ids sort by their time of creation. The standard library has it from 3.14 on."""

import os
import time
import uuid

_VERSION_7 = 7 << 76
_VARIANT = 2 << 62


def new_id() -> str:
    """A fresh UUIDv7 in its usual form."""
    millis = time.time_ns() // 1_000_000
    entropy = int.from_bytes(os.urandom(10))
    value = (millis & (2**48 - 1)) << 80 | _VERSION_7 | (entropy >> 68) << 64 | _VARIANT | entropy & (2**62 - 1)
    return str(uuid.UUID(int=value))
