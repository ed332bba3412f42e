"""`orchestrator tokens`: API tokens. The service only ever sees their hashes."""

import hashlib
import secrets

import rich_click as click

SCOPES = ("trigger", "read", "decide", "operate")


@click.group()
def tokens() -> None:
    """Make tokens for the HTTP API."""


@tokens.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="What it may do; repeatable."
)
@click.option("--user", help="The Slack user id (U…) it decides as; without, it decides as `api:NAME`.")
def new(name: str, scopes: tuple[str, ...], user: str | None) -> None:
    """Make a token called NAME and print the lines for config.yaml.

    The token itself is shown this once; only its hash goes into the config.
    """
    token = "orc_" + secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    click.echo(f"# the token, shown once: {token}")
    click.echo("api:\n  tokens:")
    click.echo(f"    - name: {name}\n      sha256: {digest}")
    click.echo(f"      scopes: [{', '.join(scopes or ('read',))}]")
    if user:
        click.echo(f"      user: {user}")
