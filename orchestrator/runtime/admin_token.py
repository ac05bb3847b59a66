"""The admin token that a start of the server makes where there is none that counts."""

import structlog

from orchestrator.runtime.data_directory import ADMIN_TOKEN_FILE, write_private
from orchestrator.service import tokens
from orchestrator.settings import Settings
from orchestrator.store.database import Database

_log = structlog.get_logger("server")


async def ensure_admin_token(settings: Settings, database: Database) -> None:
    """A first start makes an admin token: the given one, or a new one in a file that only its owner can read.

    So does a later one, if no admin token counts any more.
    """
    given = settings.security.admin_token
    if given is not None:
        if not await database.write(tokens.ensure_admin_token, given.get_secret_value()):
            _log.warning("the admin token of the settings does not count: it was revoked, or has another role")
        return
    if await database.read(tokens.has_admin):
        return
    path = settings.server.data_dir / ADMIN_TOKEN_FILE
    # Written first: should the server stop in between, the next start finds the file and uses it.
    if not path.exists():
        write_private(path, tokens.new_secret())
    if not await database.write(tokens.ensure_admin_token, path.read_text().strip()):
        # The file's token was revoked, and those that took its place have expired.
        write_private(path, tokens.new_secret())
        await database.write(tokens.ensure_admin_token, path.read_text().strip())
    _log.info("made an admin token", file=str(path))
