"""The command line that the programs of all peers share.

    python -m benchmarks.peers.<name>_peer --part PART --database URL --sink URL [--in-flight 100] [--processes 1]
        [--pool prefork] [--executions 40] [--steps 10]

The parts: `prepare` makes the tables; `work` runs a worker until it is ended; `submit` says that it is ready, waits for
a line on its standard input, and hands in the load.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.peers.webhook import Lane, lanes


@dataclass(frozen=True, slots=True)
class Asked:
    """What a process of a peer is asked to do.

    `database` is the URL of its store, `sink` that of the app; `in_flight` is how many calls one process makes at a
    time, `processes` how many processes the library's own command starts.
    """

    part: str
    database: str
    sink: str
    in_flight: int
    processes: int
    pool: str
    executions: int
    steps: int


def asked() -> Asked:
    """What the command line says, or, in a process that the library's own command started, the environment."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--part", choices=["prepare", "work", "submit"], default="work")
    parser.add_argument("--database", default=os.environ.get("PEER_DATABASE", ""))
    parser.add_argument("--sink", default=os.environ.get("PEER_SINK", ""))
    parser.add_argument("--in-flight", type=int, default=100)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--pool", default="prefork")
    parser.add_argument("--executions", type=int, default=40)
    parser.add_argument("--steps", type=int, default=10)
    # The libraries' commands have arguments of their own.
    found, _ = parser.parse_known_args()
    os.environ["PEER_DATABASE"], os.environ["PEER_SINK"] = found.database, found.sink
    return Asked(**vars(found))


def play(
    asked: Asked, prepare: Callable[[], object], work: Callable[[], object], submit: Callable[[list[Lane]], object]
) -> None:
    """Do the part that is asked for."""
    match asked.part:
        case "prepare":
            prepare()
        case "submit":
            load = lanes(asked.executions, asked.steps)
            print("ready", flush=True)
            if sys.stdin.readline():
                submit(load)
        case _:
            work()


def nothing() -> None:
    """The preparation of a peer that needs none."""
