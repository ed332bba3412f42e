"""`orchestrator serve` and `orchestrator worker`: the processes of the service."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rich_click as click

from orchestrator.cli.client import exit_code
from orchestrator.errors import OrchestratorError


def stoppable() -> None:
    """From here on SIGTERM and SIGINT end the process at once, with exit code 0, until it is up.

    Nothing has begun by then that would want an orderly end: a transaction that is cut off is rolled
    back. Without this the first process of a container would not hear them at all.
    """
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: os._exit(0))


@contextmanager
def said_in_the_log(config: Path | None) -> Iterator[None]:
    """Where logs are for programs, why the process gave up is a line for them, too."""
    import structlog

    from orchestrator import telemetry
    from orchestrator.settings import log_format

    try:
        yield
    except OrchestratorError as e:
        if log_format(config) != "json":
            raise
        telemetry.configure("error", "json")
        structlog.get_logger(__name__).error("gave_up", why=str(e))
        sys.exit(exit_code(e))


@click.command()
@click.option(
    "--web", is_flag=True, help="Only answer requests; `orchestrator worker` processes work (PostgreSQL)."
)
@click.pass_obj
def serve(config: Path | None, web: bool) -> None:
    """Run the service: HTTP API, webhooks, Slack, worker, all in this process.

    Everything is checked before a port opens. On SQLite the schema is brought up to date by itself;
    on PostgreSQL run `orchestrator db upgrade` first. SIGTERM stops it: nothing new is begun, running
    tools get their grace time, what is left is found after the next start.

    With PostgreSQL any number of these may run on any number of machines.
    """
    stoppable()
    from orchestrator import telemetry
    from orchestrator.app import Role
    from orchestrator.running import serve as run
    from orchestrator.settings import load

    with said_in_the_log(config):
        settings = load(config)
        telemetry.configure(settings.log.level, settings.log.format)
        run(settings, Role.WEB if web else Role.ALL)


@click.command()
@click.option(
    "--pulse",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file to touch with each round (every 15 s at least), for a health check.",
)
@click.pass_obj
def worker(config: Path | None, pulse: Path | None) -> None:
    """Work beside others: perform what runs wait for, answer no requests (PostgreSQL).

    Start as many as you like, on as many machines. What one that died was doing, another takes over.
    SIGTERM stops it: nothing new is begun, running tools get their grace time.
    """
    stoppable()
    from orchestrator import telemetry
    from orchestrator.running import work
    from orchestrator.settings import load

    with said_in_the_log(config):
        settings = load(config)
        telemetry.configure(settings.log.level, settings.log.format)
        work(settings, pulse)
