"""Ports that a test's processes are given."""

import socket
import subprocess
import sys
from pathlib import Path

from tests.support import ports
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
_ASKING = "from tests.support.ports import free_port; print(*(free_port() for _ in range(120)), flush=True); input()"


def test_two_processes_at_once_are_never_given_the_same_one() -> None:
    asking = [_process() for _ in range(3)]
    given = [port for process in asking for port in _first_line(process).split()]
    for process in asking:
        process.communicate(b"\n", timeout=20)
    assert len(given) == 360
    assert len(set(given)) == 360


def test_one_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        port = server.getsockname()[1]
        assert not ports._is_free(port)
    assert ports._is_free(port)


def test_no_connection_is_given_one_for_its_own_end() -> None:
    given_to_clients = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(given_to_clients.read_text().split()[0]) if given_to_clients.exists() else 49_152
    assert free_port() < lowest


def _process() -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", _ASKING]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _first_line(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode()
