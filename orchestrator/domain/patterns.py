"""Patterns of routing keys, as topic exchanges of AMQP know them: `*` is one word, `#` any number of words, or none."""

from dataclasses import dataclass
from functools import lru_cache

from app_sdk.protocol.event_pattern import pattern_problem
from orchestrator.domain.errors import Invalid

ONE_WORD = "*"
ANY_WORDS = "#"


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
    problem = pattern_problem(text)
    if problem is not None:
        raise Invalid(problem, field=field)
    return Pattern(tuple(text.split(".")))
