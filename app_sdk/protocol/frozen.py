"""Frozen dataclasses for what is made at every step.

`dataclass(frozen=True)` sets each field through a call: with a dozen such objects a step, that took longer than parsing
the app's answer. With `frozen` the type checker forbids assignments, and at run time nobody looks.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """A dataclass with slots, whose fields are never assigned to; equal when they are, and without a hash."""
    return dataclass(slots=True)(cls)
