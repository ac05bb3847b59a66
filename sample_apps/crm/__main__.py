"""`python -m sample_apps.crm`: send tasks for the application acme, and wait for what becomes of them.

The server is that of ORCHESTRATOR_URL, the token that of ORCHESTRATOR_TOKEN.
"""

import time

from app_sdk import TaskStatus, get_status, send_task

_APPLICATION = "acme"


def waited(status: TaskStatus) -> TaskStatus:
    """The task when it has ended."""
    while not status.is_completed():
        time.sleep(0.2)
        status = get_status(status.id, _APPLICATION)
    return status


def main() -> None:
    """Remove a coworker; since that fails, reassign the deals first."""
    for name, args, kwargs in (
        ("remove_coworker", [1], {}),
        ("reassign", [1], {"to": 2}),
        ("remove_coworker", [1], {}),
        ("count_deals", [], {}),
    ):
        status = waited(send_task(f"sample_apps.crm.tasks.{name}", _APPLICATION, *args, **kwargs))
        print(f"{name}: {status.status}: {status.result}")  # noqa: T201


if __name__ == "__main__":
    main()
