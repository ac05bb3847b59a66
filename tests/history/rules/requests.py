"""I15: where requests go, and that they are signed."""

from collections.abc import Iterator

from tests.history.findings import Finding
from tests.history.history import History


def signed(history: History) -> Iterator[Finding]:
    """I15: each call carries a valid X-Rmd-Signature and a valid Standard Webhooks signature, each delivery the first.

    None comes to another address than a witness has given out.
    """
    for step, attempt in history.app.attempts():
        if attempt.signature_fault is not None:
            yield Finding("I15", f"{step} (retry_count {attempt.retry_count}): {attempt.signature_fault}")
    for stray in history.app.strays:
        yield Finding("I15", stray)
    for fault in history.collector.faults if history.collector is not None else ():
        yield Finding("I15", fault)
