"""What the checker found."""

from dataclasses import dataclass


class HistoryUnreadable(ValueError):
    """A log or a database that is not what a witness or the product writes."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A broken rule; `text` names the execution, worker, step or key that it is about."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"
