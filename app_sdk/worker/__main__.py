"""`python -m app_sdk.worker MODULE…`: a worker where the server's program is not installed.

It serves ORCHESTRATOR_URL with the token in ORCHESTRATOR_TOKEN.
"""

import argparse
import logging
import os
import sys

from app_sdk.errors import OrchestratorError
from app_sdk.tasks.sending import DEFAULT_URL
from app_sdk.worker.server import RefusedError
from app_sdk.worker.supervisor import (
    DEFAULT_GRACE_SECS,
    DEFAULT_LOST_AFTER_SECS,
    WorkerError,
    WorkerOptions,
    run_worker,
)


def main() -> None:
    """Work until interrupted; the exit code is 1 where it cannot."""
    parser = argparse.ArgumentParser(prog="python -m app_sdk.worker", description=__doc__)
    parser.add_argument("modules", nargs="+", metavar="MODULE", help="what is declared there and beneath is served")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="so many tasks at once")
    parser.add_argument("--app", help="the app's id; made from the top package's name, if left out")
    parser.add_argument(
        "--grace", type=float, default=DEFAULT_GRACE_SECS, metavar="SECS", help="for running tasks, at SIGTERM"
    )
    parser.add_argument(
        "--lost-after", type=float, default=DEFAULT_LOST_AFTER_SECS, metavar="SECS", help="a silent worker is lost then"
    )
    asked = parser.parse_args()
    if asked.processes < 1:
        parser.error("--processes is 1 or more")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    url, token = os.environ.get("ORCHESTRATOR_URL", DEFAULT_URL), os.environ.get("ORCHESTRATOR_TOKEN")
    try:
        run_worker(WorkerOptions(asked.modules, url, token, asked.processes, asked.app, asked.grace, asked.lost_after))
    except (WorkerError, OrchestratorError, RefusedError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
