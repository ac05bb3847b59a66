"""`orchestrator demo`, with a server and an app that are played: its order of events and its end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli import demo, watching
from orchestrator.cli.demo import own_directory
from orchestrator.cli.failures import Refused
from tests.cli.support import Invoke

FAKE = Path(__file__).with_name("fake_server.py")
KEEPER = """
import sys
from orchestrator.cli import demo, main
fake = sys.argv.pop(1)
demo.server_command = lambda directory, port: [sys.executable, fake, str(port), "succeeded"]
demo.sample_command = lambda port: [sys.executable, fake, str(port), "succeeded"]
main()
"""

Play = Callable[[str], None]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    """Let the fake take both parts; the server's ends as told."""

    def cast(end: str) -> None:
        monkeypatch.setattr(
            demo, "server_command", lambda _directory, port: [sys.executable, str(FAKE), str(port), end]
        )
        monkeypatch.setattr(demo, "sample_command", lambda port: [sys.executable, str(FAKE), str(port), "succeeded"])
        monkeypatch.setattr(watching, "POLL_SECS", 0.01)

    return cast


def posted() -> list[dict[str, object]]:
    return [json.loads(line) for line in Path("posted").read_text(encoding="utf-8").splitlines()]


def environment() -> dict[str, str]:
    found: dict[str, str] = json.loads(Path("environment").read_text(encoding="utf-8"))
    return found


def own_children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8").split()


def test_from_nothing_to_a_summary(play: Play, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    play("succeeded")
    before = own_children()
    result = invoke("demo")
    assert result.exit_code == 0, result.stderr
    install, launch = posted()
    assert install["path"] == "/v1/apps"
    assert install["token"] == "Bearer orch_demo"
    body = install["body"]
    assert isinstance(body, dict)
    assert body["manifest"]["id"] == "app_catalog"
    assert body["secret_key"].startswith("whsec_")
    assert launch["body"] == {
        "task_id": "app_catalog_import",
        "state": {"dataset": "airports", "page_size": 250},
    }
    for text in (
        "worker 9",
        "succeeded",
        "40 (3 retries)",
        "The collector has 100 items.",
        "orchestrator demo --keep",
    ):
        assert text in result.stdout
    assert own_children() == before


def test_keeps_the_users_own_settings_out(play: Play, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    play("succeeded")
    monkeypatch.setenv("ORCHESTRATOR_DATABASE__URL", "postgresql://production/db")
    assert invoke("demo").exit_code == 0
    assert "ORCHESTRATOR_DATABASE__URL" not in environment()


def test_a_second_run_starts_afresh(play: Play, invoke: Invoke) -> None:
    play("succeeded")
    assert invoke("demo").exit_code == 0
    (demo.DIRECTORY / "orchestrator.db").write_text("of the run before", encoding="utf-8")
    assert invoke("demo", "--dataset", "cities").exit_code == 0
    assert not (demo.DIRECTORY / "orchestrator.db").exists()
    assert posted()[-1]["body"] == {
        "task_id": "app_catalog_import",
        "state": {"dataset": "cities", "page_size": 1000},
    }


def test_a_failed_run_is_exit_code_1(play: Play, invoke: Invoke) -> None:
    play("failed")
    result = invoke("demo")
    assert result.exit_code == 1
    assert "worker 0: HTTP 400" in result.stdout


def test_a_server_that_is_killed_is_started_again(play: Play, invoke: Invoke) -> None:
    play("dies")
    result = invoke("demo")
    assert Path("died").exists()
    assert result.exit_code == 0, result.stderr
    assert "the server was killed, and has been started again" in result.stdout


def test_a_server_that_does_not_start_is_shown(play: Play, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    play("succeeded")
    broken = [sys.executable, "-c", "raise SystemExit('no disk space')"]
    monkeypatch.setattr(demo, "server_command", lambda _directory, _port: broken)
    before = own_children()
    result = invoke("demo")
    assert result.exit_code == 1
    assert "the server has ended, with code 1" in result.stderr
    assert "no disk space" in result.stderr
    assert own_children() == before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_keep_runs_until_it_is_told_to_end(number: signal.Signals, nowhere: Path) -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEPER, str(FAKE), "demo", "--keep"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert keeper.stdout is not None
        said: list[str] = []
        while not said or "orchestrator task run" not in said[-1]:
            said.append(keeper.stdout.readline())
            assert said[-1], "it has ended"
        tasks = Path(f"/proc/{keeper.pid}/task/{keeper.pid}")
        pids = (tasks / "children").read_text(encoding="utf-8").split()
        assert len(pids) == 2
        keeper.send_signal(number)
        assert keeper.wait(20) == 130
    finally:
        keeper.kill()
        keeper.communicate()
    text = "".join(said)
    assert "/docs" in text
    assert "export ORCHESTRATOR_URL=http://127.0.0.1:" in text
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_two_demos_do_not_share_a_directory(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    is_refused = pytest.raises(Refused, match="another demo is running")
    with own_directory(directory), is_refused, own_directory(directory):
        pass
    with own_directory(directory):
        pass


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "demo").touch()
    with pytest.raises(Refused, match="demo cannot be used: File exists"), own_directory(tmp_path / "demo"):
        pass


def test_a_link_in_the_directory_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    directory = tmp_path / "demo"
    directory.mkdir()
    (directory / "link").symlink_to(precious)
    with own_directory(directory):
        assert [path.name for path in directory.iterdir()] == ["demo.lock"]
    assert (precious / "file").exists()
