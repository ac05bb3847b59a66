"""What every scenario plays on: a database, the witnesses, the log of faults, and at the end the checker's verdict."""

import http.client
import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.chaos.boots import Boot
from tests.chaos.clock import now
from tests.history.checker import check, report
from tests.history.database import opened_dump
from tests.history.history import History, Logs, read_history
from tests.history.rules.liveness import operations, unused_attempts
from tests.history.witness.journal import Journal
from tests.support.witnesses import running_witness

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "orch_of_the_chaos_runner"
APP_ID = "app_witness"
TASK_ID = f"{APP_ID}_work"

_UNFINISHED = """
SELECT (SELECT count(*) FROM executions WHERE ended_at IS NULL)
     + (SELECT count(*) FROM import_batches WHERE status = 'pending')"""


@dataclass(slots=True)
class Faults:
    """The fault log: what was done, and from when to when it may have been felt."""

    path: Path
    counts: Counter[str] = field(default_factory=Counter)
    _writing: threading.Lock = field(default_factory=threading.Lock)
    _journal: Journal | None = None

    def note(self, begin: float, end: float, what: str) -> None:
        with self._writing:
            if self._journal is None:
                self._journal = Journal(self.path)
            self._journal.write({"begin": begin, "end": end, "what": what})
            self.counts[what] += 1


@dataclass(slots=True)
class Stage:
    """`secrets` of the workspace sign deliveries, once a server has told them."""

    directory: Path
    url: str
    app: str
    collector: str
    faults: Faults
    secrets: list[str] = field(default_factory=list)

    def environment(self, port: int, name: str = "node", **more: str) -> dict[str, str]:
        """A node's environment: on this database, short times, and the witnesses beside it."""
        data = self.directory / name
        data.mkdir(exist_ok=True)
        return {
            "ORCHESTRATOR_SERVER__PORT": str(port),
            "ORCHESTRATOR_SERVER__NAME": name,
            "ORCHESTRATOR_SERVER__DATA_DIR": str(data),
            "ORCHESTRATOR_DATABASE__URL": self.url,
            "ORCHESTRATOR_SECURITY__MASTER_KEY": "a key for chaos",
            "ORCHESTRATOR_ADMIN_TOKEN": TOKEN,
            "ORCHESTRATOR_COLLECTOR__ENDPOINT": self.collector,
            "ORCHESTRATOR_WEBHOOK__TIMEOUT_SECS": "2",
            "ORCHESTRATOR_ENGINE__LEASE_SECS": "7",
            "ORCHESTRATOR_ENGINE__NODE_TIMEOUT_SECS": "1",
            "ORCHESTRATOR_RETRY__INITIAL_DELAY_SECS": "0.1",
            "ORCHESTRATOR_RETRY__MAX_DELAY_SECS": "1",
            "ORCHESTRATOR_LOG__FORMAT": "json",
            "ORCHESTRATOR_LOG__LEVEL": "warning",
            **more,
        }

    def set_collector(self, **mode: Any) -> None:
        """Tell the witness collector how to meet deliveries from now on."""
        httpx.post(f"{self.collector}/mode", json=mode, timeout=10).raise_for_status()

    def learn_secret(self, url: str) -> None:
        """Ask a server for the secret that deliveries are signed with."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        found = httpx.get(f"{url}/v1/workspaces", headers=headers, timeout=10).raise_for_status().json()["items"]
        for workspace in found:
            address = f"{url}/v1/workspaces/{workspace['id']}/secret"
            self.secrets.append(httpx.get(address, headers=headers, timeout=10).raise_for_status().json()["secret"])

    def unfinished(self) -> int:
        """How many executions have not ended, and batches are not delivered."""
        return int(self.rows(_UNFINISHED)[0][0])

    def rows(self, statement: Any, parameters: Any = ()) -> list[Any]:
        """Ask the database itself."""
        if self.url.startswith("postgresql:"):
            with psycopg.connect(self.url, connect_timeout=5) as connection:
                return connection.execute(statement, parameters).fetchall()
        path = Path(self.url.removeprefix("sqlite:///"))
        file = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10)
        try:
            return file.execute(statement, parameters).fetchall()
        finally:
            file.close()

    def rest(self, secs: float) -> float:
        """Wait until everything has ended; returns how long that took. Raises AssertionError after `secs`."""
        began = now()
        until = began + secs
        while unfinished := self.unfinished():
            assert now() < until, f"{unfinished} executions and batches have not come to their end in {secs:g} s"
            time.sleep(0.1)
        return now() - began

    def logs(self) -> Logs:
        faults = self.directory / "faults.jsonl"
        return Logs(
            app=[self.directory / "app.jsonl"],
            collector=self.directory / "collector.jsonl",
            clients=sorted(self.directory.glob("client*.jsonl")),
            faults=faults if faults.exists() else None,
            secrets=[SECRET],
            collector_secrets=self.secrets,
        )


@contextmanager
def open_stage(directory: Path, url: str) -> Iterator[Stage]:
    """The witnesses, running, for the database at `url`."""
    with (
        running_witness("app", directory / "app.jsonl") as app,
        running_witness("collector", directory / "collector.jsonl") as collector,
    ):
        yield Stage(directory, url, app, collector, Faults(directory / "faults.jsonl"))


@dataclass(slots=True)
class Verdict:
    """What the checker makes of a run. `worked` and `operations`: those outside of fault windows."""

    findings: str
    counts: Counter[str]
    worked: int
    operations: int


def judge(stage: Stage) -> Verdict:
    """Dump the database and check the whole history."""
    with opened_dump(stage.url) as dump:
        history = read_history(dump, stage.logs())
        findings = check(history, is_at_rest=True)
        worked, operations = _availability(history)
        return Verdict(report(findings), _counts(history), worked, operations)


def _counts(history: History) -> Counter[str]:
    counts: Counter[str] = Counter(call.outcome for calls in history.lanes.values() for call in calls)
    counts["executions"] = len(history.dump.executions)
    counts["requests"] = sum(len(talk.attempts) for talk in history.app.talks.values())
    counts["steps"] = len(history.app.talks)
    counts["repeated"] = sum(len(talk.attempts) > 1 for talk in history.app.talks.values())
    counts["unused answers"] = sum(1 for _ in unused_attempts(history))
    counts["batches"] = len(history.dump.batches)
    counts["items"] = sum(call.items for _, call in history.every_applied())
    if history.collector is not None:
        counts["deliveries"] = sum(parcel.deliveries for parcel in history.collector.parcels.values())
    for call in history.clients.calls:
        counts[f"client {call.outcome}"] += 1
    return counts


def _availability(history: History) -> tuple[int, int]:
    """How many operations outside of fault windows worked, and how many there were."""
    counted = operations(history)
    return counted[True], counted.total()


def wait_ready(port: int, boot: Boot, secs: float = 30.0) -> bool:
    """Wait until a server takes requests; False if it has ended before. Raises AssertionError after `secs`."""
    until = now() + secs
    while boot.is_up:
        if _is_ready(port):
            return True
        assert now() < until, f"the server on port {port} is not ready after {secs:g} s:\n{tail(boot.log)}"
        time.sleep(0.01)
    return False


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def tail(log: Path) -> str:
    """The end of a log, for a failure's message."""
    return log.read_text(errors="replace")[-3000:] if log.exists() else "(no log)"


def request_times(log: Path) -> list[float]:
    """When each call reached the app, in order."""
    times = []
    with log.open() as lines:
        for line in lines:
            if line.startswith('{"event":"request"') and line.endswith("\n"):
                times.append(float(json.loads(line)["at"]))
    return times
