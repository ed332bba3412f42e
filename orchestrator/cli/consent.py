"""What the commands that decide share: what is seen before, under which digest, and what came of it."""

import json
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from orchestrator.cli import cards, client, consoles

if TYPE_CHECKING:
    import httpx

_SHORTEST: Final = 16
"""Digits of a digest that are enough for the service."""

id_argument = click.argument("approval", metavar="ID")
reason_option = click.option("--reason", default="", help="Why; kept, and of a rejection told to the model.")
digest_option = click.option(
    "--digest",
    metavar="HEX",
    default="",
    help="What was seen, by at least 16 digits of its digest; anything else is refused.",
)
digests_option = click.option(
    "--digest",
    "digests",
    metavar="HEX",
    multiple=True,
    help="What was seen, by at least 16 digits of its digest, one for each ID in their order; anything else"
    " is refused.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask, for programs; goes with --digest.")
no_option = click.option("--yes", is_flag=True, help="Do not ask, for programs; needed without a terminal.")
"""For a no, by which nothing runs: a program need not have seen what it is about."""


def shown(service: "httpx.Client", approval: str) -> dict[str, Any]:
    """The approval as the service tells of it."""
    return client.one(service, f"/v1/approvals/{client.part(approval)}", "id", "digest", "arguments")


def answered(service: "httpx.Client", approval: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Send a decision off; what the approval is after it."""
    # What is empty was not given; but an answer may be, and is refused as one.
    said = {k: v for k, v in body.items() if v != "" or k == "answer"}
    return client.posted(service, f"/v1/approvals/{client.part(approval)}/decision", said)


def sealed(digest: str, *, yes: bool) -> str:
    """The digest a program names, or empty where a person can be asked. Raises `UsageError`."""
    if yes and not digest:
        raise click.UsageError("--yes needs --digest: say what is meant, as `approvals show --json` gave it")
    _somebody(yes, "--yes and --digest")
    return checked(digest)


def named(digest: str, *, yes: bool) -> str:
    """The digest somebody may name who lets nothing happen by it; empty for none. Raises `UsageError`."""
    _somebody(yes, "--yes")
    return checked(digest)


def _somebody(yes: bool, otherwise: str) -> None:
    if not yes and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(f"there is nobody to ask without a terminal: use {otherwise}")


def checked(digest: str) -> str:
    """A digest, or the beginning of one, or none. Raises `UsageError`."""
    if digest and not (_SHORTEST <= len(digest) <= 64 and set(digest) <= set("0123456789abcdef")):
        raise click.UsageError("--digest must be 16 to 64 hex digits, in lower case")
    return digest


def still(told: Mapping[str, Any], sealed: str) -> None:
    """Whether it is open and what was seen before. Raises `ClickException`."""
    if told["status"] != "pending":
        raise click.ClickException(consoles.plain(f"{told['id']} {cards.ending(told)}"))
    if not told["digest"].startswith(sealed):
        raise click.ClickException("the question has changed since it was shown: nothing was done")


def confirm(question: str) -> None:
    """Go on only with a yes. Raises `ClickException`."""
    if not click.confirm(question):
        raise click.ClickException("nothing was done")


def width() -> int:
    """Columns of the terminal."""
    return shutil.get_terminal_size().columns


def show(told: Mapping[str, Any], *, as_json: bool = False) -> None:
    """Print all of an approval."""
    if as_json:
        click.echo(json.dumps(told))
        return
    for line in cards.card(told, now=datetime.now(UTC), width=width()):
        click.echo(consoles.plain(line))


def tell(told: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what became of it."""
    consoles.show_one(told, [f"{told['id']} {cards.ending(told)}"], as_json=as_json)
