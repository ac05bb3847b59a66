"""What a step costs other libraries: `make bench`, or

    python -m benchmarks.peers [--only dbos,celery-prefork] [--executions 40] [--steps 10] [--rounds 1] [--timeout 120]

Loopback only, everything on this machine, at most 100 calls in flight. "peer us/step" is CPU of the peer's processes,
"store us/step" of PostgreSQL or Redis; start and submission are in neither. A gap is the time from an answer to the
next call of the same lane, most of it spent in the queue; DBOS has 100 lanes under way at a time, the others all of
them, which makes its gaps shorter. Medians over the rounds.
"""

import argparse
import signal
import sys

from benchmarks.peers.comparison import compare, table
from benchmarks.peers.contestants import PEERS, chosen
from benchmarks.peers.programs import Load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="beginnings of names, divided by commas: " + ", ".join(p.name for p in PEERS))
    parser.add_argument("--executions", type=int, default=40)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one measurement")
    asked = parser.parse_args()
    # As after Ctrl-C: whatever was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load = Load(asked.executions, asked.steps)
    peers = chosen(asked.only)
    if not peers:
        parser.error(f"no peer's name begins with {asked.only}")
    found = compare(peers, load, asked.rounds, asked.timeout, lambda line: print(line, file=sys.stderr, flush=True))
    print(f"{load.lanes} lanes of {load.steps} steps each, medians of {asked.rounds}")
    print(table(found))


if __name__ == "__main__":
    main()
