"""`python -m sample_apps.pull_executor`: count words for whoever asks, until interrupted.

It needs the address of the orchestrator (`--url`), and a token of the role executor in ORCHESTRATOR_TOKEN.
"""

import argparse
import os
import socket
import time
import uuid

import httpx

from sample_apps.pull_executor.executor import LONG_POLL_SECS, Executor, count_words

PAUSE_SECS = 1.0


def main() -> None:
    """Work until interrupted; while the orchestrator is away, try again."""
    parser = argparse.ArgumentParser(prog="python -m sample_apps.pull_executor", description=main.__doc__)
    parser.add_argument("--url", default=os.environ.get("ORCHESTRATOR_URL", "http://127.0.0.1:8400"))
    parser.add_argument("--once", action="store_true", help="end after the first task")
    asked = parser.parse_args()
    headers = {"Authorization": f"Bearer {os.environ['ORCHESTRATOR_TOKEN']}"}
    name = f"{socket.gethostname()}:{uuid.uuid4()}"
    with httpx.Client(base_url=asked.url, headers=headers, timeout=LONG_POLL_SECS + 10) as client:
        executor = Executor(client, {"words/count": count_words}, name)
        print(f"{name} waits for tasks at {asked.url}", flush=True)  # noqa: T201
        done = 0
        while not (asked.once and done):
            try:
                done += executor.run_once()
            except httpx.TransportError as error:
                print(f"{asked.url} is away: {error}", flush=True)  # noqa: T201
                time.sleep(PAUSE_SECS)


if __name__ == "__main__":
    main()
