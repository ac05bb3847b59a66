"""`python -m sample_apps.pull_executor`: count words for whoever asks, until interrupted.

It needs the address of the orchestrator (`--url`), and a token of the role executor in ORCHESTRATOR_TOKEN.
"""

import argparse
import os

from sample_apps.pull_executor.executor import count_words, run


def main() -> None:
    """Work until interrupted; while the orchestrator is away, try again."""
    parser = argparse.ArgumentParser(prog="python -m sample_apps.pull_executor", description=main.__doc__)
    parser.add_argument("--url", default=os.environ.get("ORCHESTRATOR_URL", "http://127.0.0.1:8400"))
    parser.add_argument("--once", action="store_true", help="end after the first task")
    asked = parser.parse_args()
    run(asked.url, os.environ["ORCHESTRATOR_TOKEN"], {"words/count": count_words}, once=asked.once)


if __name__ == "__main__":
    main()
