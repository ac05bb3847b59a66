"""The register of planted bugs: faults of the product, each known to be one, that the simulation must find.

A simulation that finds nothing may be blind; these show that it sees.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

Patches = Iterable[AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Bug:
    """A fault, told in a sentence, and the patches that bring it about."""

    name: str
    says: str
    patches: Callable[[], Patches]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The product has the fault until the block ends."""
        with ExitStack() as stack:
            for patch in self.patches():
                stack.enter_context(patch)
            yield


BUGS: dict[str, Bug] = {}


def bug(patches: Callable[[], Patches]) -> Callable[[], Patches]:
    """Register a fault; the function's docstring says what it is."""
    name = patches.__name__
    BUGS[name] = Bug(name, (patches.__doc__ or "").strip(), patches)
    return patches
