"""What a webhook answer asks for, as the protocol reads it: kept small, since a history has many of them."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.history.json_lines import DIGEST_BYTES, Json, digest, digests

_NOBODY: Mapping[int, bytes] = {}


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change of the app's state: `set`, `delete` or `increment`."""

    operation: str
    key: str
    value: Any = None

    @classmethod
    def of(cls, entry: Json) -> "Mutation":
        """Raises KeyError for what is no mutation."""
        operation = entry["operation"]
        # The same few keys come in every answer.
        return cls(sys.intern(operation), sys.intern(entry["key"]), None if operation == "delete" else entry["value"])


@dataclass(frozen=True, slots=True)
class Effects:
    """An answer's effects. States and items are digests; `mark` is what the app put into `witness`.

    `settles`: a plain `is_done`, after which the worker is done. `parks`: it awaits a callback. `errs`: the same turn
    is to be tried again.
    """

    mark: Any
    settles: bool
    fails: bool
    errs: bool
    parks: bool
    waits: bool
    state: bytes | None
    mutations: tuple[Mutation, ...]
    spawns: Mapping[int, bytes]
    items: bytes

    @classmethod
    def of(cls, document: Json | None) -> "Effects | None":
        """None for what is no valid answer."""
        if document is None:
            return None
        try:
            return _read(document)
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def item_count(self) -> int:
        return len(self.items) // DIGEST_BYTES

    def is_recorded_as(self, record: "Effects", item_count: int) -> bool:
        """True if the product's record of an applied answer fits this one.

        A record leaves out the items, whose number is beside it, and a state that was the same before.
        """
        return (
            (self.settles, self.fails, self.parks, self.waits)
            == (record.settles, record.fails, record.parks, record.waits)
            and record.state in (None, self.state)
            and self.spawns == record.spawns
            and self.item_count == item_count
            and _written(self.mutations) == _written(record.mutations)
        )


def _read(document: Json) -> Effects:
    is_done, is_error = bool(document.get("is_done")), bool(document.get("is_error"))
    state = document.get("updated_worker_state")
    return Effects(
        mark=document.get("witness"),
        settles=is_done and not is_error,
        fails=is_done and is_error,
        errs=is_error and not is_done,
        parks=not is_error and bool(document.get("await_callback")),
        waits=not is_error and bool(document.get("wait_for_workers")),
        state=None if state is None else digest(state),
        mutations=tuple(Mutation.of(entry) for entry in document.get("app_state_mutations") or ()),
        spawns=_spawns(document.get("new_workers")),
        items=digests(_item(entry) for entry in document.get("items_to_import") or ()),
    )


def _spawns(asked: list[Json] | None) -> Mapping[int, bytes]:
    if not asked:
        return _NOBODY
    spawns: dict[int, bytes] = {}
    for new in asked:
        # Of a worker that is named twice, the first counts.
        spawns.setdefault(int(new["worker_id"]), digest(new.get("initial_state") or {}))
    return spawns


def _item(entry: Any) -> Any:
    return json.loads(entry) if isinstance(entry, str) else entry


def _written(mutations: tuple[Mutation, ...]) -> bytes:
    return digest([[mutation.operation, mutation.key, mutation.value] for mutation in mutations])
