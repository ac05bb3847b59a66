"""The sizes that a conversation between the orchestrator and an app may reach."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds of an answer and what it leaves behind; `message_shown_chars` is for display only."""

    answer_bytes: int = 10 * 1024 * 1024
    worker_state_bytes: int = 1024 * 1024
    app_state_bytes: int = 1024 * 1024
    items_per_answer: int = 10_000
    workers: int = 10
    message_shown_chars: int = 500
    max_delay_secs: float = 30 * 24 * 3600.0


DEFAULT_LIMITS = Limits()
