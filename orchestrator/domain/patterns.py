"""Patterns of routing keys, as topic exchanges of AMQP know them: `*` is one word, `#` any number of words, or none."""

import re
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.domain.errors import Invalid
from orchestrator.domain.events import LONGEST_KEY_BYTES

ONE_WORD = "*"
ANY_WORDS = "#"
_WORD = re.compile(r"[A-Za-z0-9_-]*|[*#]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern, taken apart."""

    words: tuple[str, ...]

    def matches(self, key: str) -> bool:
        """Whether a routing key is one of those that are meant; in time of both lengths multiplied, at most."""
        # What the pattern's words so far may have covered: so many words of the key, from its start.
        words = key.split(".")
        covered = {0}
        for wanted in self.words:
            if wanted == ANY_WORDS:
                covered = set(range(min(covered), len(words) + 1))
            else:
                covered = {at + 1 for at in covered if at < len(words) and wanted in (ONE_WORD, words[at])}
            if not covered:
                return False
        return len(words) in covered


@lru_cache(maxsize=1024)
def read_pattern(text: str, field: str = "pattern") -> Pattern:
    """The pattern that a text writes; `field` is where it was written. Raises Invalid."""
    if not text or len(text) > LONGEST_KEY_BYTES:
        raise Invalid(f"a pattern has 1 to {LONGEST_KEY_BYTES} characters", field=field)
    words = tuple(text.split("."))
    for word in words:
        if not _WORD.fullmatch(word):
            raise Invalid(
                f"{word[:40]!r} is no word of a pattern: write letters, digits, _ and -, or * (one word) or # (any "
                "number of words) alone, with full stops between",
                field=field,
            )
    return Pattern(words)
