"""What a step costs other libraries, by themselves; `python -m benchmarks.steps` measures them in turns with ours.

    python -m benchmarks.peers [--only dbos,celery-prefork] [--executions 40] [--steps 10] [--rounds 1] [--timeout 120]

Loopback only, everything on this machine, at most 100 calls in flight. "CPU us/step" is that of the peer's processes,
"store us/step" of PostgreSQL or Redis; start and submission are in neither. A gap is the time from an answer to the
next call of the same lane, most of it spent in the queue; DBOS has 100 lanes under way at a time, the others all of
them, which makes its gaps shorter. Medians over the rounds.
"""

import argparse
from contextlib import ExitStack

from benchmarks.part import begin_measuring, tell
from benchmarks.peers.comparison import table, tried
from benchmarks.peers.contestants import PEERS, chosen
from benchmarks.peers.programs import NotRun, Peer
from benchmarks.report import text_of
from benchmarks.stores import Stores
from benchmarks.workload import Figures, Load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="beginnings of names, divided by commas: " + ", ".join(p.name for p in PEERS))
    parser.add_argument("--executions", type=int, default=40)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one measurement")
    asked = parser.parse_args()
    begin_measuring()
    load = Load(asked.executions, asked.steps)
    found: dict[Peer, list[Figures | NotRun]] = {peer: [] for peer in chosen(asked.only)}
    if not found:
        parser.error(f"no peer's name begins with {asked.only}")
    with ExitStack() as stack:
        stores = Stores(stack)
        for number in range(asked.rounds):
            for peer, results in found.items():
                results.append(tried(peer, stores, load, asked.timeout))
                tell(f"round {number + 1}: {peer.name}: {results[-1]}")
    print(f"{load.lanes} lanes of {load.steps} steps each, medians of {asked.rounds}")
    print(text_of(table(found)))


if __name__ == "__main__":
    main()
