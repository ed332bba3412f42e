"""`orchestrator deliveries`: the ledger of webhooks, over the running service's own API."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import rich_click as click

from orchestrator.cli import client, consoles
from orchestrator.cli.entries import instant

VERDICTS = ("woke", "known", "parked", "adopted", "not_ours", "ignored", "overflow", "refused")


@click.group()
def deliveries() -> None:
    """List the webhooks that came, show one, or work on it again.

    Asks the running service; the token needs the scope `read` to look and `operate` to replay.
    Exit code 1: the service said no; 2: wrong usage, input or token; 3: it could not be asked.
    """


@deliveries.command("list")
@click.option(
    "--state",
    type=click.Choice(("new", "done", "parked")),
    help="Waiting, worked on, or about interactions nobody knows.",
)
@click.option(
    "--verdict", type=click.Choice(VERDICTS), help="What became of them; only this lists refused ones."
)
@click.option("--kind", metavar="EVENT", help="As `interaction.completed`.")
@click.option("--subject", metavar="ID", help="About one interaction only.")
@click.option("--run", metavar="ID", help="About the interactions of one run only.")
@client.limit_option
@client.json_option
@client.over_the_api
def list_(reach: client.Reach, /, limit: int, as_json: bool, **which: str | None) -> None:
    """The last received first."""
    chosen = {name: value for name, value in which.items() if value is not None}
    with reach() as service:
        found, more = client.listed(service, "/v1/deliveries", chosen, limit)
    nothing = "no such delivery" if chosen else "no delivery was taken; see also --verdict refused"
    columns = ("delivery", "received", "event", "about", "verdict", "again", "note")
    consoles.show_list(
        found, as_json=as_json, nothing=nothing, columns=columns, cells=_row, whole=2, more=more
    )


@deliveries.command()
@click.argument("delivery", metavar="ID")
@client.one_json_option
@client.over_the_api
def show(reach: client.Reach, delivery: str, as_json: bool) -> None:
    """The delivery ID as it came, what became of it, and what followed."""
    with reach() as service:
        told = client.one(service, _path(delivery), "id", "body")
    consoles.show_one(told, _lines(told), as_json=as_json)


@deliveries.command()
@client.ids_argument
@client.reason_option
@client.json_option
@client.over_the_api
def replay(reach: client.Reach, ids: Sequence[str], reason: str, as_json: bool) -> None:
    """Work on the deliveries ID... again. At most an interaction is read once more."""
    with reach() as service:
        client.each(
            service,
            ids,
            lambda one: f"{_path(one)}/replay",
            reason,
            lambda told: f"{told['id']} {told['kind']} of {told['subject'] or '–'} is worked on again",
            as_json=as_json,
        )


def _path(delivery: str) -> str:
    from orchestrator.web.handles import to_handle

    return f"/v1/deliveries/{client.part(to_handle(delivery))}"


def _cells(d: Mapping[str, Any]) -> list[object]:
    again = f"{d['duplicates']} ({d['conflicts']} other body)" if d["conflicts"] else d["duplicates"]
    verdict = d["verdict"] or ("waits" if d["state"] == "new" else d["state"])
    return [
        d["id"],
        instant(d["received_at"]),
        d["kind"] or "–",
        d["subject"] or "–",
        verdict,
        d["run"] or "–",
        again,
        d["note"],
    ]


def _row(d: Mapping[str, Any]) -> list[object]:
    """In a table the run stands in the place of its interaction, whose id is too long beside it."""
    delivery, received, event, about, verdict, run, again, note = _cells(d)
    return [delivery, received, event, run if d["run"] else about, verdict, again, note]


def _lines(d: Mapping[str, Any]) -> Iterator[str]:
    """A delivery for people: facts, headers, what followed, and the body as it came."""
    names = ("delivery", "received", "event", "about", "verdict", "run", "again", "note")
    turn = f", turn {d['turn']}" if d["turn"] is not None else ""
    facts = {**dict(zip(names, _cells(d), strict=True)), "scheme": d["scheme"] or "–"}
    facts["run"] = f"{facts['run']}{turn}"
    facts["worked on"] = instant(d["handled_at"])
    facts["body"] = f"{d['size']} bytes, sha256 {d['sha256']}"
    yield from (f"{name:<10} {value}" for name, value in facts.items())
    yield from (f"header     {name}: {value}" for name, value in d["headers"].items())
    for e in d["followed"]:
        yield f"then       {e['seq']} {e['kind']} {instant(e['at'])} {e['status']} {e['note']}"
    if d["encoding"] != "json":
        yield "(in base64)"
    yield from d["body"].split("\n")
