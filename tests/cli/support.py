"""Documents as the API answers them, and what a run of the command line left behind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

SERVER = "http://127.0.0.1:8400"
TOKEN = "orch_admin"
EXECUTION_ID = "0193aaaa-0000-7000-8000-000000000001"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the command line left behind."""

    exit_code: int
    stdout_bytes: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        return self.stdout_bytes.decode()


Invoke = Callable[..., Outcome]


def listing(*rows: Document, next_cursor: str | None = None) -> httpx.Response:
    return httpx.Response(200, json={"items": list(rows), "next_cursor": next_cursor})


def problem(status: int, detail: str, **facts: object) -> httpx.Response:
    body = {
        "type": "urn:orchestrator:problem:x",
        "title": "A title",
        "status": status,
        "detail": detail,
        **facts,
    }
    return httpx.Response(status, json=body, headers={"Content-Type": "application/problem+json"})


def app_document(**changes: object) -> Document:
    return {
        "id": "app_shop",
        "name": "Shop",
        "status": "active",
        "status_reason": None,
        "version": "1.2",
        "webhook_endpoint": "http://127.0.0.1:9000/webhooks",
        "max_concurrent_calls": 20,
        "rate_limit": {"calls": 5, "per_secs": 1.0},
        "manifest": {"id": "app_shop", "name": "Shop", "icon_url": "kept"},
        "created_at": "2026-11-21T08:30:00.123456Z",
        "updated_at": "2026-11-21T08:31:00.000000Z",
        "tasks": ["app_shop_import", "app_shop_export"],
        **changes,
    }


def task_document(**changes: object) -> Document:
    return {
        "id": "app_shop_import",
        "app_id": "app_shop",
        "name": "Import the shop",
        "description": None,
        "aliases": ["shop.import"],
        "is_paused": False,
        "schedule": {"cron": None, "interval_secs": 300.0, "jitter_secs": 0, "catch_up": "latest"},
        "next_slot_at": "2026-11-21T09:00:00.000000Z",
        "on_multiple_exec": "discard_new",
        "last_execution": {"id": "x", "status": "failed", "created_at": "2026-11-21T08:00:00.000000Z"},
        **changes,
    }


def worker_document(worker_id: int = 0, **changes: object) -> Document:
    return {
        "worker_id": worker_id,
        "status": "calling",
        "step": 4,
        "retry_count": 0,
        "due_at": None,
        "state": {"cursor": 10},
        "output": None,
        "message": "",
        "progress": {"current": 250, "total": 1000, "unit": "airports"},
        "undelivered_batches": 0,
        "refused": False,
        **changes,
    }


def execution_document(**changes: object) -> Document:
    return {
        "id": EXECUTION_ID,
        "number": 7,
        "app_id": "app_shop",
        "task_id": "app_shop_import",
        "task_name": "Import the shop",
        "status": "running",
        "status_code": 0,
        "failing": False,
        "attempt": 1,
        "name": None,
        "subtext": None,
        "message": None,
        "multiple_exec_key": None,
        "run_at": None,
        "created_at": "2026-11-21T08:30:00.000000Z",
        "started_at": "2026-11-21T08:30:01.000000Z",
        "ended_at": None,
        "launched_by": "admin",
        "input": {"from": 2**63},
        "output": None,
        "workers": [worker_document()],
        "totals": {"calls": 12, "retries": 2, "items": 500, "delivered_items": 450},
        **changes,
    }


def ended_document(status: str = "succeeded", **changes: object) -> Document:
    worker = worker_document(
        status="done" if status == "succeeded" else status,
        progress={"current": 1000, "total": 1000, "unit": "airports"},
    )
    return execution_document(
        status=status,
        ended_at="2026-11-21T08:30:11.000000Z",
        workers=[worker],
        totals={"calls": 40, "retries": 3, "items": 1000, "delivered_items": 1000},
        **changes,
    )
