"""`orchestrator callbacks`: what callers were told of their runs, over the running service's own API."""

import json
from collections.abc import Mapping
from typing import Any

import rich_click as click

from orchestrator.cli import client, consoles
from orchestrator.cli.entries import instant


@click.group()
def callbacks() -> None:
    """Webhooks to callers: list them, send one again, enable an address that was disabled, try one.

    Asks the running service; the token needs the scope `read` to look and `operate` to change.
    Exit code 1: the service said no, or a tried address did not take it; 2: wrong usage, input or
    token; 3: it could not be asked.
    """


@callbacks.command("list")
@click.option("--state", type=click.Choice(("waiting", "delivered", "held", "failed")), help="Only those.")
@click.option("--run", "run_id", metavar="ID", help="Of one run only.")
@client.limit_option
@client.json_option
@client.over_the_api
def list_(reach: client.Reach, state: str | None, run_id: str | None, limit: int, as_json: bool) -> None:
    """The newest first."""
    which = {k: v for k, v in (("state", state), ("run", run_id)) if v}
    with reach() as service:
        found, more = client.listed(service, "/v1/callbacks", which, limit)
    nothing = "no such callback" if which else "nobody was told of anything yet"
    columns = ("callback", "event", "state", "run", "to", "tries", "last answer")
    consoles.show_list(found, as_json=as_json, nothing=nothing, columns=columns, cells=_cells, more=more)


def _cells(one: Mapping[str, Any]) -> list[object]:
    cells = [one[k] for k in ("id", "event", "state", "run", "host", "attempts")]
    return [*cells, one["error"] or one["last_status"] or "–"]


@callbacks.command()
@click.argument("callback", metavar="ID")
@client.one_json_option
@client.over_the_api
def show(reach: client.Reach, callback: str, as_json: bool) -> None:
    """The callback ID with its body and its newest attempts."""
    names = ("id", "event", "state", "host", "address", "body", "log")
    with reach() as service:
        told = client.one(service, f"/v1/callbacks/{client.part(callback)}", *names)
    if as_json:
        click.echo(json.dumps(told))
        return
    lines = [f"{told['id']} {told['event']} to {told['host']} ({told['address']}): {told['state']}"]
    lines += [f"  {_attempt(entry)}" for entry in told["log"]]
    for line in (*lines, json.dumps(told["body"], indent=2)):
        click.echo("\n".join(map(consoles.plain, line.split("\n"))))


def _attempt(entry: Mapping[str, Any]) -> str:
    if entry.get("replayed_by"):
        return f"{entry['at']}  sent again by {entry['replayed_by']}"
    status = entry["status"]
    return f"{entry['at']}  {entry['error'] or f'it answered {status}'}"


@callbacks.command()
@client.ids_argument
@client.reason_option
@client.over_the_api
def replay(reach: client.Reach, ids: tuple[str, ...], reason: str) -> None:
    """Send the callbacks ID... again, each under its own id."""
    with reach() as service:
        client.each(
            service,
            ids,
            lambda one: f"/v1/callbacks/{client.part(one)}/replay",
            reason,
            lambda told: f"{told['id']} {told['event']} is sent again",
        )


@callbacks.command()
@click.option("--state", type=click.Choice(("active", "disabled")), help="Only those.")
@client.json_option
@client.over_the_api
def addresses(reach: client.Reach, state: str | None, as_json: bool) -> None:
    """How the addresses stand, the disabled ones first."""
    where = "/v1/callback-addresses" + (f"?state={state}" if state else "")
    with reach() as service:
        found = client.one(service, where, "items")["items"]
    columns = ("address", "host", "state", "held", "failing since", "why")
    consoles.show_list(found, as_json=as_json, nothing="no such address", columns=columns, cells=_standing)


def _standing(address: Mapping[str, Any]) -> list[object]:
    since = instant(address["failing_since"])
    return [*(address[k] for k in ("id", "host", "state", "held")), since, address["why"]]


@callbacks.command()
@client.ids_argument
@client.reason_option
@client.over_the_api
def enable(reach: client.Reach, ids: tuple[str, ...], reason: str) -> None:
    """Send to the addresses ID... again, first what was held for them."""
    with reach() as service:
        client.each(
            service,
            ids,
            lambda one: f"/v1/callback-addresses/{client.part(one)}/enable",
            reason,
            lambda told: (
                f"{told['id']} at {told['host']} is enabled: {told['sent']} sent now,"
                f" {told['given_up']} were too old"
            ),
        )


@callbacks.command()
@click.argument("address", metavar="URL", required=False)
@click.option("--workflow", metavar="NAME", help="The addresses of that workflow instead.")
@client.json_option
@client.over_the_api
def test(reach: client.Reach, address: str | None, workflow: str | None, as_json: bool) -> None:
    """Send a signed `callback.test` to URL and say what it answered."""
    if (address is None) == (workflow is None):
        raise click.UsageError("name a URL, or a workflow by --workflow")
    wish = {"url": address} if address else {"workflow": workflow}
    with reach() as service:
        answer = client.ask(service, "POST", "/v1/callback-addresses/test", json=wish)
        found = client.sent(answer, "items")["items"]
    if as_json:
        consoles.show_lines(found)
    else:
        for one in found:
            told = f"took it ({one['status']})" if one["delivered"] else one["detail"]
            click.echo(consoles.plain(f"{one['host']}: {told}"))
    if not all(one["delivered"] for one in found):
        raise click.ClickException("not delivered")
