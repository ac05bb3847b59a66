"""Who takes part, in the form that was the quickest of those tried: at most 100 calls in flight, on two cores."""

from benchmarks.peers.programs import Peer

POSTGRESQL = "PostgreSQL, each commit on the disk"
REDIS = "Redis (Valkey), flushed to the disk every second"
SQLITE = "SQLite, each commit on the disk"


def shared(copies: int) -> tuple[str, ...]:
    """The calls in flight, divided among so many processes."""
    return ("--in-flight", str(100 // copies))


PEERS = (
    Peer("procrastinate-1", "procrastinate_peer", "postgresql", POSTGRESQL),
    Peer("procrastinate-2", "procrastinate_peer", "postgresql", POSTGRESQL, 2, shared(2)),
    Peer("pgqueuer-1", "pgqueuer_peer", "postgresql", POSTGRESQL),
    Peer("dbos-1", "dbos_peer", "postgresql", POSTGRESQL),
    Peer("dbos-2", "dbos_peer", "postgresql", POSTGRESQL, 2, shared(2)),
    Peer("dbos-sqlite-1", "dbos_peer", "sqlite", SQLITE),
    Peer("taskiq-1", "taskiq_peer", "redis", REDIS),
    # Here and below, the library's own command starts the processes.
    Peer("taskiq-2", "taskiq_peer", "redis", REDIS, options=("--processes", "2", *shared(2))),
    Peer("dramatiq-2x16", "dramatiq_peer", "redis", REDIS, options=("--processes", "2", "--in-flight", "16")),
    Peer("celery-prefork-8", "celery_peer", "redis", REDIS, options=("--in-flight", "8")),
    Peer("celery-gevent-100", "celery_peer", "redis", REDIS, options=("--pool", "gevent")),
)


def chosen(only: str | None) -> list[Peer]:
    """The peers whose names begin with one of the words, divided by commas; all of them when there are none."""
    words = tuple(word.strip() for word in (only or "").split(",") if word.strip())
    return [peer for peer in PEERS if not words or peer.name.startswith(words)]
