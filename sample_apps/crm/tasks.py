"""The tasks. `orchestrator worker sample_apps.crm.tasks` serves them; `python -m sample_apps.crm` sends some."""

import asyncio
import logging
from typing import Any

from app_sdk import Application, ScheduledTask, on_event, task
from sample_apps.crm.deals import opened

_BATCH = 20
_log = logging.getLogger(__name__)


@task(acks_late=True, max_retries=5)
def reassign(app: Application, coworker: int, *, to: int) -> str:
    """Give a coworker's deals to another one. What was given before it was interrupted, stays given."""
    moved = 0
    with opened(app.name) as connection:
        [(total,)] = connection.execute("SELECT count(*) FROM deals WHERE coworker = ?", [coworker])
    while moved < total:
        with opened(app.name) as connection:
            batch = "SELECT id FROM deals WHERE coworker = ? LIMIT ?"
            done = connection.execute(f"UPDATE deals SET coworker = ? WHERE id IN ({batch})", [to, coworker, _BATCH])  # noqa: S608
        moved += done.rowcount
        app.progress(moved, total, "deals")
        if not done.rowcount:
            break
    return f"updated the coworker of {moved} deals to {to}"


@task
async def count_deals(app: Application) -> dict[str, int]:
    """How many deals each coworker has."""
    await asyncio.sleep(0)
    with opened(app.name) as connection:
        rows = connection.execute("SELECT coworker, count(*) FROM deals GROUP BY coworker")
        return {str(coworker): count for coworker, count in rows}


@task
def remove_coworker(app: Application, coworker: int) -> None:
    """Refuses to remove one who has deals; whoever listens to failures hears of it."""
    with opened(app.name) as connection:
        [(left,)] = connection.execute("SELECT count(*) FROM deals WHERE coworker = ?", [coworker])
    if left:
        raise ValueError(f"coworker {coworker} has {left} deals; reassign them first")


@on_event("core.task.sample_apps.crm.#.failure.v1")
def note_failure(app: Application, event: dict[str, Any]) -> str:
    """Called for every task here that fails: this is where a mail would be sent."""
    said = f"{event['data']['task']} failed for {app.name}: {event['data']['error']}"
    _log.warning("%s", said)
    return said


every_night = ScheduledTask(count_deals, schedule="0 2 * * *", timezone="Europe/Stockholm", application="acme")
