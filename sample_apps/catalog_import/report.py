"""What worker 0 reports in the end, from its own state and what the others left."""

from collections.abc import Mapping
from typing import Any

from app_sdk.protocol.payload import WorkerResult
from sample_apps.catalog_import.state import ImportState


def output(shares: Mapping[int, ImportState], secs: float, counter: object) -> dict[str, Any]:
    """The totals, and each worker's part in them; `counter` is what all of them counted in the app state."""
    return {
        "imported": sum(share.imported for share in shares.values()),
        "counter": counter,
        "seconds": round(secs, 3),
        "waits": sum(share.waits for share in shares.values()),
        "workers": {
            str(worker_id): {"imported": share.imported, "seconds": share.seconds, "waits": share.waits}
            for worker_id, share in sorted(shares.items())
        },
    }


def message(totals: Mapping[str, Any], unit: str) -> str:
    """The totals in a sentence."""
    workers = totals["workers"].values()
    secs = [worker["seconds"] for worker in workers]
    return (
        f"{totals['imported']:,} {unit} imported by {len(workers)} workers in {totals['seconds']:.1f} s "
        f"({min(secs):.1f} to {max(secs):.1f} s each); the upstream asked {totals['waits']:,} times to wait"
    )


def unfinished(results: Mapping[int, WorkerResult]) -> list[str]:
    """Whichever of the others did not come to its end, and how it stands."""
    return [
        f"worker {worker_id} {result.status}"
        for worker_id, result in sorted(results.items())
        if result.status != "done"
    ]
