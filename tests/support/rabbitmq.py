"""A RabbitMQ of the test's own, where one is installed: on free ports, in a directory of its own, ended by its pid."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port
from tests.support.server import wait_for

# Debian's own script becomes another user; this one does not.
_PLACES = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/homebrew/sbin/rabbitmq-server")
_BOOT_SECS = 120.0


@dataclass(frozen=True, slots=True)
class RabbitMQ:
    """A broker at 127.0.0.1, which lets in `guest` with the password `guest`."""

    port: int


def installed() -> tuple[str, str] | None:
    """The programs: the broker, and Erlang's port mapper; None where they are not installed."""
    server = next((place for place in _PLACES if Path(place).exists()), shutil.which("rabbitmq-server"))
    mapper = shutil.which("epmd")
    return (server, mapper) if server and mapper else None


@contextmanager
def running_rabbitmq(programs: tuple[str, str]) -> Iterator[RabbitMQ]:
    server, mapper = programs
    port, mapped = free_port(), free_port()
    with ExitStack() as ending:
        directory = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="rabbitmq-")))
        (directory / "plugins").write_text("[].\n")
        environment = {
            **os.environ,
            "HOME": str(directory),
            "ERL_EPMD_PORT": str(mapped),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(directory / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "none"),
        }
        log = ending.enter_context((directory / "out").open("ab"))
        for command in ([mapper, "-port", str(mapped), "-address", "127.0.0.1"], [server]):
            process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
            ending.callback(_end, process)

        def is_up() -> bool:
            said = (directory / "out").read_text(errors="replace")
            assert process.poll() is None, said
            return "Starting broker... completed" in said or "completed with" in said

        wait_for(is_up, "RabbitMQ", _BOOT_SECS)
        yield RabbitMQ(port)


def _end(process: "subprocess.Popen[bytes]") -> None:
    # The script has Erlang for a child, in the session that was made for them.
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
