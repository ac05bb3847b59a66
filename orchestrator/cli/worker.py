"""`orchestrator worker`: run Python tasks."""

import logging
import os
import sys
from typing import Annotated

import typer

from app_sdk.errors import ApiError, AuthError, OrchestratorError
from app_sdk.worker.server import RefusedError
from app_sdk.worker.supervisor import (
    DEFAULT_GRACE_SECS,
    DEFAULT_LOST_AFTER_SECS,
    WorkerError,
    WorkerOptions,
    run_worker,
)
from orchestrator.cli.connecting import ConfigOption, TokenOption, UrlOption, find_token, read_settings, server_url
from orchestrator.cli.failures import Refused, RunFailed

app = typer.Typer()


@app.command("worker")
def worker(  # noqa: PLR0913 - an option each
    modules: Annotated[list[str], typer.Argument(metavar="MODULE…", help="Serve what is declared there and beneath.")],
    processes: Annotated[
        int | None, typer.Option("--processes", "-p", min=1, help="So many tasks at once.", show_default="one per CPU")
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(help="The app that the tasks belong to.", show_default="app_ and the top package's name"),
    ] = None,
    grace_secs: Annotated[
        float, typer.Option("--grace", min=0, metavar="SECS", help="How long running tasks have after SIGTERM.")
    ] = DEFAULT_GRACE_SECS,
    lost_after: Annotated[
        float, typer.Option(min=1, metavar="SECS", help="A worker that is silent for so long is lost.")
    ] = DEFAULT_LOST_AFTER_SECS,
    url: UrlOption = None,
    token: TokenOption = None,
    config: ConfigOption = None,
) -> None:
    """Register and run Python tasks, until interrupted.

    Start as many as you like, on as many machines: each task goes to one of them. Each runs its tasks in processes
    of its own, which may crash; while the server is away, it waits. Interrupt twice not to wait for running tasks.
    """
    settings = read_settings(url, token, config)
    address = server_url(settings)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    options = WorkerOptions(
        modules=modules,
        url=address,
        token=find_token(settings, address),
        processes=processes or os.cpu_count() or 1,
        app_id=app,
        grace_secs=grace_secs,
        lost_after_secs=lost_after,
    )
    try:
        run_worker(options)
    except WorkerError as error:
        raise RunFailed(str(error)) from error
    except (AuthError, RefusedError) as error:
        raise Refused(str(error), "It needs a token of the role executor, for its tasks, or an admin's.") from error
    except (ApiError, OrchestratorError) as error:
        raise Refused(str(error)) from error
