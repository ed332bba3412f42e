"""`orchestrator effects`: what was given up or waits, over the running service's own API."""

from collections.abc import Mapping, Sequence
from typing import Any

import rich_click as click

from orchestrator.cli import client, consoles
from orchestrator.cli.entries import instant


@click.group()
def effects() -> None:
    """List what was given up, try it again, or drop it.

    Asks the running service; the token needs the scope `read` to list and `operate` to change.
    Exit code 1: the service said no; 2: wrong usage, input or token; 3: it could not be asked.
    """


@effects.command("list")
@click.option(
    "--state",
    type=click.Choice(("dead", "pending", "claimed")),
    default="dead",
    show_default=True,
    help="Given up, waiting for its time, or being performed.",
)
@click.option("--run", "run_id", metavar="ID", help="Of one run only.")
@client.limit_option
@client.json_option
@client.over_the_api
def list_(reach: client.Reach, state: str, run_id: str | None, limit: int, as_json: bool) -> None:
    """What was given up, newest first; or what waits, the soonest first."""
    which = {"state": state, **({"run": run_id} if run_id else {})}
    with reach() as service:
        found, more = client.listed(service, "/v1/effects", which, limit)
    nothing = f"no effect is {state}"
    columns = ("effect", "kind", "of", "run", "due", "tries", "last error")
    consoles.show_list(
        found, as_json=as_json, nothing=nothing, columns=columns, cells=_cells, whole=2, more=more
    )


def _cells(effect: Mapping[str, Any]) -> list[object]:
    what = [effect[k] for k in ("id", "kind", "subject")]
    return [*what, effect["run"] or "–", instant(effect["due_at"]), effect["attempts"], effect["error"]]


@effects.command()
@client.ids_argument
@client.reason_option
@client.over_the_api
def retry(reach: client.Reach, ids: Sequence[str], reason: str) -> None:
    """Try the effects ID... again now: given up, or waiting for their time (but no timers)."""
    _each(reach, ids, "retry", "is due now", reason)


@effects.command()
@client.ids_argument
@client.reason_option
@client.over_the_api
def drop(reach: client.Reach, ids: Sequence[str], reason: str) -> None:
    """Give the effects ID... up. The service refuses where a run would wait in vain."""
    _each(reach, ids, "drop", "is dropped", reason)


def _each(reach: client.Reach, ids: Sequence[str], action: str, done: str, reason: str) -> None:
    with reach() as service:
        client.each(
            service,
            ids,
            lambda one: f"/v1/effects/{client.part(one)}/{action}",
            reason,
            lambda told: f"{told['id']} {told['kind']} of {told['subject']} {done}",
        )
