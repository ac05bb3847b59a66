"""Idempotency-Key: a POST that is sent again is answered again, and done once.

The work and the record of its answer are one transaction. So a crash leaves both or neither, a refused
request leaves no record, and there is never a record without an answer that somebody would have to take over.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson

from orchestrator.domain.errors import Conflict, Invalid
from orchestrator.store import idempotency_records
from orchestrator.store.clock import to_micros
from orchestrator.store.idempotency_records import Record, RecordKey
from orchestrator.store.transaction import Transaction

REMEMBERED = timedelta(hours=24)
_LONGEST_KEY = 255


class KeyReused(Invalid):
    """The Idempotency-Key came with another body before."""


class InProgress(Conflict):
    """The first request with this Idempotency-Key is not done yet."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request is answered. `secrets` are told once: they join the body, and stay out of the record."""

    status: int
    body: Mapping[str, Any] | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer as JSON text; `is_replayed` if the work was done by an earlier request."""

    status: int
    text: bytes
    location: str | None
    is_replayed: bool = False


Work = Callable[[Transaction], Reply]


def check_key(key: str) -> None:
    """Raises Invalid unless the key is 1 to 255 printable ASCII characters."""
    if not (1 <= len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()):
        raise Invalid(f"1 to {_LONGEST_KEY} printable ASCII characters", field="Idempotency-Key")


def body_hash(body: object) -> str:
    """The same for bodies that say the same; white space and the order of keys do not count."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def run(tx: Transaction, work: Work) -> Answered:
    """Do the work of a request that has no key."""
    return _told(work(tx))


def once(tx: Transaction, key: RecordKey, hash_: str, work: Work) -> Answered:
    """Do the work, or give the answer of the request that did it in the last 24 hours.

    Raises KeyReused if that one had another body, InProgress while it is not done; and what the work raises,
    of which nothing is remembered.
    """
    if not idempotency_records.try_lock(tx, _lock(key)):
        raise InProgress("the first request with this Idempotency-Key is still in progress; try again in a second")
    now = tx.now()
    known = idempotency_records.find(tx, key, to_micros(now - REMEMBERED))
    if known is not None:
        return _replay(known, hash_)
    reply = work(tx)
    answer = orjson.dumps({"location": reply.location, "body": reply.body}).decode()
    idempotency_records.put(tx, key, Record(hash_, reply.status, answer), to_micros(now))
    return _told(reply)


def _told(reply: Reply) -> Answered:
    text = b"" if reply.body is None else orjson.dumps({**reply.body, **reply.secrets})
    return Answered(reply.status, text, reply.location)


def _replay(known: Record, hash_: str) -> Answered:
    if known.body_hash != hash_:
        raise KeyReused("this Idempotency-Key came with another body before; use a new one", field="Idempotency-Key")
    # The body is carried as text: a number in it may be one that orjson would not give back as it was.
    prefix, _, body = known.answer.partition(',"body":')
    location = orjson.loads(prefix + "}")["location"]
    text = body.removesuffix("}")
    return Answered(known.status, b"" if text == "null" else text.encode(), location, is_replayed=True)


def _lock(key: RecordKey) -> int:
    text = orjson.dumps([key.workspace_id, key.token_id, key.route, key.key])
    return int.from_bytes(hashlib.sha256(text).digest()[:8], signed=True)
