"""`python -m sample_apps.csv_export api` and `… worker`: the two processes of the application.

They may run on two machines that have the folder `--shared` and the database `--library` in common.
"""

import argparse
import os
from pathlib import Path

import httpx

from sample_apps.command_line import listen, serve
from sample_apps.csv_export.api import User, build_api
from sample_apps.csv_export.library import Library
from sample_apps.csv_export.worker import exporter
from sample_apps.pull_executor.executor import run


def main() -> None:
    """Run one of the two until told to stop."""
    asked = _arguments().parse_args()
    library = Library(asked.library)
    library.create()
    asked.shared.mkdir(parents=True, exist_ok=True)
    if asked.role == "api":
        users = {user.name: user for user in (_user(text, asked.url) for text in asked.user)}
        for user in users.values():
            if not library.books(user.owner_id):
                library.add_book(user.owner_id, "Middlemarch", "George Eliot", "9780141439549", "Read")
        serve(build_api(library, asked.shared, users), listen(asked.host, asked.port), is_app=False)
    else:
        run(asked.url, os.environ["ORCHESTRATOR_TOKEN"], {"csv_export": exporter(library, asked.shared)})


def _user(text: str, url: str) -> User:
    name, owner_id, token = text.split(":", 2)
    client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"})
    return User(name, int(owner_id), client)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sample_apps.csv_export", description=main.__doc__)
    parser.add_argument("role", choices=["api", "worker"])
    parser.add_argument("--url", default=os.environ.get("ORCHESTRATOR_URL", "http://127.0.0.1:8400"))
    parser.add_argument("--library", type=Path, default=Path("library.db"), help="the application's database")
    parser.add_argument("--shared", type=Path, default=Path("shared"), help="the folder that both can reach")
    parser.add_argument("--host", default="127.0.0.1", help="of the API")
    parser.add_argument("--port", type=int, default=8504, help="of the API")
    parser.add_argument(
        "--user", action="append", default=[], metavar="NAME:OWNER:TOKEN", help="a user, whose key is the name"
    )
    return parser


if __name__ == "__main__":
    main()
