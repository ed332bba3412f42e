"""`orchestrator triggers`: what starts runs besides callers, over the running service's own API."""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rich_click as click

from orchestrator.cli import client, consoles
from orchestrator.cli.entries import instant
from orchestrator.errors import ConfigError


@click.group()
def triggers() -> None:
    """List triggers, show what happened, fire one, or tell the next times.

    All but `next` ask the running service; the token needs the scope `read` to look and `operate` to fire.
    Exit code 1: the service said no; 2: wrong usage, input or token; 3: it could not be asked.
    """


@triggers.command("list")
@client.json_option
@client.over_the_api
def list_(reach: client.Reach, as_json: bool) -> None:
    """Every trigger of the settings, and how it stands."""
    with reach() as service:
        found = client.one(service, "/v1/triggers", "items")["items"]
    nothing = "no trigger is set up"
    columns = ("trigger", "kind", "starts", "waits for", "next", "failures", "last error")
    consoles.show_list(found, as_json=as_json, nothing=nothing, columns=columns, cells=_standing, whole=2)


@triggers.command()
@click.argument("name")
@client.limit_option
@client.one_json_option
@client.over_the_api
def show(reach: client.Reach, name: str, limit: int, as_json: bool) -> None:
    """The trigger NAME and what happened lately."""
    with reach() as service:
        path = f"/v1/triggers/{client.part(name)}?limit={min(limit, 100)}"
        told = client.one(service, path, "name", "occurrences")
    if as_json:
        click.echo(json.dumps(told))
        return
    heads = ("trigger", "kind", "starts", "waits for", "next", "failures", "last error")
    for head, value in zip(heads, _standing(told), strict=True):
        click.echo(consoles.plain(f"{head:<10} {value}"))
    columns = ("occurrence", "at", "verdict", "run", "again", "note")
    rows = [
        [o["key"], instant(o["at"]), o["verdict"], o["run"] or "–", o["again"], o["note"]]
        for o in told["occurrences"]
    ]
    consoles.show_table(columns, rows, whole=0, more=bool(told["next"]))


@triggers.command()
@click.argument("name")
@click.option(
    "--event",
    metavar="JSON",
    help="What its mapping sees as `entry` or `body`; a webhook's trigger needs it.",
)
@client.one_json_option
@client.over_the_api
def fire(reach: client.Reach, name: str, event: str | None, as_json: bool) -> None:
    """Fire the trigger NAME now; the run is yours. A feed without an event is read now."""
    try:
        order = {} if event is None else {"event": client.typed(event)}
    except ValueError as e:
        raise ConfigError(f"--event: {e}") from e
    with reach() as service:
        answer = client.ask(service, "POST", f"/v1/triggers/{client.part(name)}/fire", json=order)
        if answer.status_code != 200:
            refused = click.ClickException if answer.status_code in (404, 409) else ConfigError
            raise refused(client.complaint(answer))
        told = client.content(answer, "verdict")
    done = {"started": f"run {told['run']} is started", None: "it is read now"}
    said = done.get(told["verdict"], f"{told['verdict']}: {told['note']}")
    consoles.show_one(told, [f"{name}: {said}"], as_json=as_json)
    sys.exit(1 if told["verdict"] == "refused" else 0)


@triggers.command("next")
@click.argument("name")
@click.option("-n", "many", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many.")
@client.json_option
@click.pass_obj
def next_(config: Path | None, name: str, many: int, as_json: bool) -> None:
    """The next times of the cron trigger NAME by the settings, in its own time zone; asks nobody."""
    from orchestrator import arming
    from orchestrator.settings import load

    settings = load(config, need_secrets=False)
    if (trigger := settings.triggers.get(name)) is None:
        raise ConfigError(f"triggers: there is no {name}; known are {', '.join(settings.triggers) or 'none'}")
    if (schedule := arming.schedule(trigger)) is None:
        raise ConfigError(f"triggers.{name}: has no times of its own; it is no cron trigger")
    moment = datetime.now(UTC)
    for _ in range(many):
        moment = schedule.after(moment)
        local, at = schedule.local(moment), f"{moment:%Y-%m-%dT%H:%M:%SZ}"
        told = json.dumps({"at": at, "local": local.isoformat(timespec="minutes")})
        click.echo(told if as_json else f"{local:%a %Y-%m-%d %H:%M %Z}  {at}")


def _standing(told: Mapping[str, Any]) -> list[object]:
    failures = f"{told['failures']} (keeps failing)" if told["failing"] else told["failures"]
    return [
        told["name"],
        told["kind"],
        told["workflow"],
        told["waits_for"],
        instant(told["next_at"]),
        failures,
        told["error"] or "–",
    ]
