"""The apps of the simulated world, and the database in which they are installed."""

from functools import lru_cache
from typing import Any

from app_sdk.protocol.manifest import read_manifest
from orchestrator.service import apps, workspaces
from orchestrator.service.vault import Vault
from orchestrator.store.transaction import Transaction
from tests.simulation.store import EPOCH, empty_image, the_store

WORKSPACE = "default"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MAX_CALLS = {"app_alpha": 3, "app_beta": 20}
RATE_CALLS, RATE_SECS = 6, 2.0
SLOT_SECS = {"app_beta_tick": 5.0, "app_beta_each": 4.0}

_RETRY = {"max_retries": 3, "initial_delay_secs": 1, "multiplier": 2, "max_delay_secs": 4}
_TASKS: dict[str, dict[str, Any]] = {
    "app_alpha_run": {"on_multiple_exec": "allow", "retry": _RETRY},
    "app_alpha_once": {"on_multiple_exec": "allow", "delivery": "at_most_once", "retry": _RETRY},
    "app_alpha_single": {"on_multiple_exec": "discard_new", "retry": _RETRY},
    "app_alpha_queue": {"on_multiple_exec": "retry_later", "retry": _RETRY},
    "app_alpha_newest": {"on_multiple_exec": "abort_existing", "retry": _RETRY},
    "app_alpha_rest": {"on_multiple_exec": "allow", "on_worker_failure": "continue", "retry": _RETRY},
    "app_alpha_brief": {"on_multiple_exec": "allow", "max_duration_secs": 9, "retry": _RETRY},
    "app_beta_run": {"on_multiple_exec": "allow", "retry": _RETRY},
    "app_beta_queue": {"on_multiple_exec": "retry_later", "retry": _RETRY},
}
_SCHEDULED: dict[str, dict[str, Any]] = {
    "app_beta_tick": {
        "on_multiple_exec": "retry_later",
        "retry": _RETRY,
        "schedule": {"interval_secs": SLOT_SECS["app_beta_tick"]},
    },
    "app_beta_each": {
        "on_multiple_exec": "allow",
        "retry": _RETRY,
        "schedule": {"interval_secs": SLOT_SECS["app_beta_each"], "catch_up": "all"},
    },
}
LAUNCHED_BY_HAND = tuple(_TASKS)
POLICIES = {name: str(task["on_multiple_exec"]) for name, task in {**_TASKS, **_SCHEDULED}.items()}
AT_MOST_ONCE = "app_alpha_once"


@lru_cache(maxsize=1)
def the_vault() -> Vault:
    return Vault("the simulation's master key")


@lru_cache(maxsize=2)
def installed_image(*, has_schedule: bool) -> bytes:
    """A database in which both apps are installed at the beginning of time."""
    store = the_store()
    store.reset(empty_image())
    tasks = {**_TASKS, **(_SCHEDULED if has_schedule else {})}

    def install(tx: Transaction) -> None:
        workspaces.ensure_default(tx, the_vault())
        for app_id, limits in (
            ("app_alpha", {"max_concurrent_calls": MAX_CALLS["app_alpha"]}),
            ("app_beta", {"rate_limit": {"calls": RATE_CALLS, "per_secs": RATE_SECS}}),
        ):
            own = [{"id": name, "name": name, **task} for name, task in tasks.items() if name.startswith(app_id)]
            document = {"id": app_id, "name": app_id, "webhook_endpoint": f"https://{app_id}.test/", "tasks": own}
            apps.install(tx, the_vault(), WORKSPACE, read_manifest({**document, **limits}), SECRET)

    store.transact(install, lambda: EPOCH, commits=True)
    return store.image()
