"""The witness collector: logs every delivery with what it answered, and can be told to misbehave.

`POST /mode` with {"mode": "ok", "delay_secs": 0, "status": 200} changes what it does about deliveries from now on:

    ok       takes the batch, answers 200
    refuse   answers `status` (503 if left out) and takes nothing
    down     cuts the connection and takes nothing
    half     takes the batch, and cuts the connection instead of answering

each after `delay_secs`.
"""

import asyncio
import json
from dataclasses import dataclass

from tests.history.witness.http_server import Exchange, arguments, serve
from tests.history.witness.journal import Journal, clock

MODES = ("ok", "refuse", "down", "half")


@dataclass(frozen=True, slots=True)
class Mode:
    """How deliveries are met. `status` is what a refusal answers."""

    mode: str = "ok"
    delay_secs: float = 0.0
    status: int = 503

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"unknown mode {self.mode!r}")


class WitnessCollector:
    """Takes deliveries at any path but `/mode`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._mode = Mode()

    def handle(self, exchange: Exchange) -> None:
        if exchange.request.path == "/mode":
            self._change(exchange)
        elif self._mode.delay_secs:
            asyncio.get_running_loop().call_later(self._mode.delay_secs, self._meet, exchange, self._mode)
        else:
            self._meet(exchange, self._mode)

    def _change(self, exchange: Exchange) -> None:
        try:
            self._mode = Mode(**json.loads(exchange.request.body))
        except (ValueError, TypeError) as error:
            exchange.answer(400, json.dumps({"error": str(error)}).encode())
            return
        exchange.answer(200, b"{}")

    def _meet(self, exchange: Exchange, mode: Mode) -> None:
        is_taken = mode.mode in ("ok", "half")
        status = {"ok": 200, "refuse": mode.status}.get(mode.mode)
        self._journal.write(
            {
                "event": "delivery",
                "at": clock(),
                "host": exchange.request.headers.get("host"),
                "headers": exchange.request.headers,
                "body": exchange.request.body.decode("utf-8", "replace"),
                "taken": is_taken,
                "status": status,
            }
        )
        if status is None:
            exchange.cut()
        else:
            exchange.answer(status, b"{}")


def main() -> None:
    asked = arguments(__doc__).parse_args()
    collector = WitnessCollector(Journal(asked.log, fsync=asked.fsync))
    asyncio.run(serve(collector.handle, asked.port, lambda _host: None))


if __name__ == "__main__":
    main()
