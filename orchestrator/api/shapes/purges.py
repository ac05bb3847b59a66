"""Purging executions: what is asked, and how far it has come."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from orchestrator.api.shapes.parts import Asked, Shown
from orchestrator.service.purging import Tally

EndedStatus = Literal["succeeded", "failed", "aborted"]
_HUNDRED_YEARS_IN_SECS = 36_500 * 86_400


class Purge(Asked):
    """Which ended executions are to go; what is left out does not restrict."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"older_than_secs": 2592000, "statuses": ["succeeded"], "dry_run": True}]}
    )

    older_than_secs: Annotated[int, Field(le=_HUNDRED_YEARS_IN_SECS)] = Field(
        description="How long ago they ended at least: a day or more, as long as an Idempotency-Key is remembered."
    )
    statuses: list[EndedStatus] | None = Field(default=None, min_length=1, description="How they ended.")
    app_id: str | None = Field(default=None, description="Of this app, also of one that was deleted.")
    task_id: str | None = Field(default=None, description="Of this task: an id or an alias.")
    dry_run: bool = Field(default=False, description="Only count; nothing is removed.")
    cursor: str | None = Field(default=None, max_length=2000, description="`next_cursor` of the answer before.")
    workspace_id: str | None = Field(
        default=None, description="Another workspace than the caller's own; for the admins of `default`."
    )


class Purged(Shown):
    """What this request has removed, or would remove: a part, if there is a `next_cursor`. Add the answers up."""

    dry_run: bool
    executions: int
    calls: int
    log_lines: int
    import_batches: int
    held_back: int = Field(description="Kept: a batch of theirs is undelivered, or was refused.")
    newest: int = Field(description="Kept: the newest execution of its task.")
    next_cursor: str | None = Field(description="Send the same body with it as `cursor` to go on; null at the end.")


def purged(tally: Tally, next_cursor: str | None, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "executions": tally.executions,
        "calls": tally.calls,
        "log_lines": tally.log_lines,
        "import_batches": tally.import_batches,
        "held_back": tally.held_back,
        "newest": tally.newest,
        "next_cursor": next_cursor,
    }
