"""The witnesses of a run, as processes: an app and a collector that log what they see."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server import spawn, wait_for


@contextmanager
def running_witness(kind: str, log: Path, *arguments: str) -> Iterator[str]:
    """A witness (`app` or `collector`) that appends to `log`; gives its URL."""
    output = log.with_suffix(".out")
    process = spawn(output, f"tests.history.witness.{kind}", "--log", str(log), *arguments)

    def url() -> str | None:
        assert process.poll() is None, output.read_text()
        lines = [line for line in output.read_text().splitlines() if line.startswith("http://")]
        return lines[-1] if lines else None

    try:
        yield wait_for(url, f"the witness {kind}")
    finally:
        process.kill()
        process.wait(timeout=10)
