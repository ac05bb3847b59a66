"""`python -m tests.history`: check one run; exits 1 if a rule is broken, 2 if the history cannot be read."""

import argparse
import sys
from pathlib import Path

from tests.history.checker import check, report, summary
from tests.history.database import opened_dump
from tests.history.findings import HistoryUnreadable
from tests.history.history import Logs, read_history


def main() -> int:
    asked = _arguments().parse_args()
    logs = Logs(
        app=asked.app_log,
        collector=asked.collector_log,
        clients=asked.client_log,
        faults=asked.fault_log,
        secrets=asked.secret,
        collector_secrets=asked.collector_secret,
    )
    try:
        with opened_dump(asked.dump) as dump:
            history = read_history(dump, logs)
    except (HistoryUnreadable, OSError) as error:
        print(f"the history cannot be read: {error}", file=sys.stderr)
        return 2
    findings = check(history, is_at_rest=asked.at_rest)
    print(summary(history))
    print(report(findings) if findings else "no rule is broken")
    return 1 if findings else 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.history", description=__doc__)
    parser.add_argument("--dump", required=True, help="the database: a path, sqlite:///path or postgresql://")
    parser.add_argument("--app-log", type=Path, required=True, action="append", help="may be given several times")
    parser.add_argument("--collector-log", type=Path, help="left out: the built-in collector's tables are read")
    parser.add_argument("--client-log", type=Path, action="append", help="may be given several times")
    parser.add_argument("--fault-log", type=Path)
    parser.add_argument("--secret", required=True, action="append", help="an app's; may be given several times")
    parser.add_argument("--collector-secret", default=[], action="append", help="a workspace's")
    parser.add_argument("--at-rest", action="store_true", help="the run was given the time to finish everything")
    return parser


if __name__ == "__main__":
    sys.exit(main())
