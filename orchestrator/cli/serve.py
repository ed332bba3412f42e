"""`orchestrator serve`."""

from pathlib import Path

import rich_click as click


@click.command()
@click.pass_obj
def serve(config: Path | None) -> None:
    """Run the service: HTTP API, webhooks, Slack, worker, all in this process.

    Everything is checked before a port opens. On SQLite the schema is brought up to date by itself;
    on PostgreSQL run `orchestrator db upgrade` first. SIGTERM stops it: nothing new is begun, running
    tools get their grace time, what is left is found after the next start.
    """
    from orchestrator import telemetry
    from orchestrator.app import serve as run
    from orchestrator.settings import load

    settings = load(config)
    telemetry.configure(settings.log.level, settings.log.format)
    run(settings)
