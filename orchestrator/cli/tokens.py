"""`orchestrator tokens`: API tokens. The service only ever sees their hashes."""

import hashlib
import secrets
from collections.abc import Mapping

import rich_click as click

from orchestrator.errors import ConfigError

SCOPES = ("trigger", "read", "decide", "operate")


@click.group()
def tokens() -> None:
    """Make tokens for the HTTP API."""


@tokens.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=["read"],
    show_default=True,
    help="What it may do; repeatable.",
)
@click.option("--user", help="The Slack user id (U…) it decides as; without, it decides as `api:NAME`.")
@click.option("--expires", metavar="TIME", help="From then on it is refused, as 2027-01-31T00:00:00Z.")
def new(name: str, scopes: tuple[str, ...], user: str | None, expires: str | None) -> None:
    """Make a token called NAME and print the lines for config.yaml.

    The token itself is shown this once; only its hash goes into the config.
    """
    token = "orc_" + secrets.token_urlsafe(32)
    lines = {
        "name": name,
        "sha256": hashlib.sha256(token.encode()).hexdigest(),
        "scopes": tuple(dict.fromkeys(scopes)),
    }
    lines |= {key: value for key, value in (("user", user), ("expires", expires)) if value is not None}
    _check(lines)
    click.echo(f"# the token, shown once: {token}")
    click.echo("api:\n  tokens:")
    told = {**lines, "scopes": f"[{', '.join(lines['scopes'])}]"}
    for number, (key, value) in enumerate(told.items()):
        click.echo(f"    {' ' if number else '-'} {key}: {value}")


def _check(lines: Mapping[str, object]) -> None:
    """Raises `ConfigError` where the service would not start with these lines."""
    from pydantic import ValidationError

    from orchestrator.settings import ApiToken

    try:
        ApiToken.model_validate(lines)
    except ValidationError as e:
        told = [(d["loc"][0], d["ctx"]["error"]) for d in e.errors(include_input=False, include_url=False)]
        faults = [f"{'NAME' if key == 'name' else f'--{key}'}: {fault}" for key, fault in told]
        raise ConfigError("\n".join(faults)) from None
