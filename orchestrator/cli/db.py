"""`orchestrator db`: the schema."""

from pathlib import Path

import rich_click as click


@click.group()
def db() -> None:
    """Bring the database's schema up to date, or look at it."""


@db.command()
@click.pass_obj
def upgrade(config: Path | None) -> None:
    """Bring an empty or older database to this program's schema."""
    from orchestrator import app
    from orchestrator.settings import load
    from orchestrator.store import migrate

    with app.opened(load(config, need_secrets=False)) as database:
        migrate.upgrade(database.engine)
        click.echo(f"the database is at schema {migrate.current(database.engine)}")


@db.command()
@click.pass_obj
def check(config: Path | None) -> None:
    """Say whether the database fits this program; exit code 2 if not."""
    from orchestrator import app
    from orchestrator.settings import load
    from orchestrator.store import migrate

    with app.opened(load(config, need_secrets=False)) as database:
        migrate.require_current(database.engine)
        click.echo(
            f"schema {migrate.current(database.engine)}, commits survive a power cut: {database.durable()}"
        )
