"""Patterns of events, as topic exchanges of AMQP know them: whether a text is one."""

import re

LONGEST_KEY_BYTES = 255
_WORD = re.compile(r"[A-Za-z0-9_-]*|[*#]")


def pattern_problem(text: str) -> str | None:
    """What is wrong with a pattern; None if nothing is."""
    if not text or len(text) > LONGEST_KEY_BYTES:
        return f"a pattern has 1 to {LONGEST_KEY_BYTES} characters"
    for word in text.split("."):
        if not _WORD.fullmatch(word):
            return (
                f"{word[:40]!r} is no word of a pattern: write letters, digits, _ and -, or * (one word) or # (any "
                "number of words) alone, with full stops between"
            )
    return None
