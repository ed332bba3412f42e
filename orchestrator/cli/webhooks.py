"""`orchestrator webhooks`: where Gemini sends its events, and under which secret.

Works on the resource at Gemini itself, with the key and address of the settings.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import rich_click as click

from orchestrator.cli import at_gemini, consoles
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.cli.secret_store import Change, SecretFile
    from orchestrator.gemini.registrations import Registrations

T = TypeVar("T")
AFTER_A_DAY: Final = "after-24h"
LOOK: Final = "see `orchestrator webhooks list`, delete it, register again"

_id = click.argument("webhook", metavar="[ID]", required=False)
_json = click.option("--json", "as_json", is_flag=True, help="JSON, for programs.")
_secret_to = click.option(
    "--secret-to",
    metavar="print|env:FILE|file:PATH",
    default="print",
    show_default=True,
    help="Where the secret goes, which Gemini tells once: onto the screen; into GEMINI_WEBHOOK_SECRETS of an"
    " env file; or into a file for GEMINI_WEBHOOK_SECRETS_FILE. Files are made for your eyes only (0600).",
)


@click.group()
def webhooks() -> None:
    """Tell Gemini where to send its events, and look after that.

    Once: `register`, with `public_url` set, and restart the service so that it knows the secret.
    Later: `list` and `show` say how it stands, `enable` switches it on again after Gemini gave up on
    too many failed deliveries, `rotate` renews the secret without losing a delivery.

    ID may be left out where one webhook is registered for our own address: that one is meant then.
    Exit code 1: Gemini refused; 2: wrong usage or setting; 3: Gemini could not be asked, or its
    answer got lost.
    """


@webhooks.command()
@click.option("--uri", metavar="URL", help="Where to send to; else `<public_url>/webhooks/gemini`.")
@click.option(
    "--event", "events", metavar="NAME", multiple=True, help="Only this one, repeatable; else as configured."
)
@click.option("--name", default="", help="A label, to know it by in lists.")
@_secret_to
@click.option("--insecure-http", is_flag=True, help="Take an http:// address that is not this machine.")
@click.option("--again", is_flag=True, help="Even if one is registered for that address already.")
@click.pass_obj
def register(
    config: Path | None,
    uri: str | None,
    events: Sequence[str],
    name: str,
    secret_to: str,
    insecure_http: bool,
    again: bool,
) -> None:
    """Register our address at Gemini, and keep the secret that signs the deliveries.

    Does nothing where one is registered for that address already.
    """
    from orchestrator.cli.secret_store import added
    from orchestrator.domain.registration import ours

    settings, store = at_gemini.settings(config), _store(secret_to)
    address = at_gemini.address(settings, uri, insecure_http)
    wanted = tuple(dict.fromkeys(events)) or settings.webhooks.events
    if settings.webhooks.mode != "static":
        _say(f"note: webhooks.mode is {settings.webhooks.mode}, for which nothing has to be registered")

    async def work(gemini: "Registrations") -> None:
        there = ours(await gemini.list(), address)
        if there and not again:
            _say(
                f"{there[0].id} is registered for {address} already ({there[0].state}); --again makes another"
            )
            return
        made = await at_gemini.sure(gemini.create(address, events=wanted, name=name), LOOK)
        _say(f"{made.registration.id} is registered for {address}")
        _keep(store, made.secret, added(made.secret))

    at_gemini.run(settings, work)


@webhooks.command("list")
@_json
@click.pass_obj
def list_(config: Path | None, as_json: bool) -> None:
    """Every webhook of the project, whoever registered it; with --json one object per line."""
    from orchestrator import clients
    from orchestrator.cli.registered import plainly, table

    found = at_gemini.run(settings := at_gemini.settings(config), lambda gemini: gemini.list())
    if as_json:
        for registered in found:
            click.echo(json.dumps(plainly(registered)))
    elif not found:
        click.echo("no webhook is registered: `orchestrator webhooks register` does it")
    else:
        table(found, clients.webhook_address(settings))


@webhooks.command()
@_id
@_json
@click.pass_obj
def show(config: Path | None, webhook: str | None, as_json: bool) -> None:
    """One webhook, and whether it is as the settings want it."""
    from orchestrator import clients
    from orchestrator.cli.registered import lines, plainly
    from orchestrator.domain.registration import judge, same_address

    settings = at_gemini.settings(config)
    found = at_gemini.run(settings, lambda gemini: at_gemini.picked(gemini, settings, webhook))
    if as_json:
        click.echo(json.dumps(plainly(found)))
        return
    for key, value in lines(found):
        click.echo(f"{key:10} {value}")
    address = clients.webhook_address(settings)
    if address and same_address(found.uri, address):
        verdict = judge([found], address=address, events=settings.webhooks.events)
        click.echo(f"{'verdict':10} {verdict.text}")


@webhooks.command()
@_id
@click.pass_obj
def ping(config: Path | None, webhook: str | None) -> None:
    """Have Gemini send a test delivery.

    Gemini says yes even where nobody can be reached: whether it came, our own records say.
    """
    settings = at_gemini.settings(config)

    async def work(gemini: "Registrations") -> None:
        found = await at_gemini.picked(gemini, settings, webhook)
        await gemini.ping(found.id)
        _say(f"Gemini was asked to send one to {found.uri}. That it said yes does not mean that it arrived:")
        _say("look for it with `orchestrator deliveries list`.")

    at_gemini.run(settings, work)


@webhooks.command()
@_id
@click.option(
    "--revoke",
    type=click.Choice((AFTER_A_DAY, "now")),
    default=AFTER_A_DAY,
    show_default=True,
    help="When the secrets before end. After `now`, deliveries are refused until the service has the new.",
)
@_secret_to
@click.pass_obj
def rotate(config: Path | None, webhook: str | None, revoke: str, secret_to: str) -> None:
    """Renew the signing secret.

    For 24 hours Gemini signs with the old and the new one, so nothing is lost if the service knows
    the new one by then: in a file (see --secret-to) the old one stays beside it, with its end.
    """
    from datetime import timedelta

    from orchestrator import app
    from orchestrator.cli.secret_store import endless, rotated, until

    settings, store = at_gemini.settings(config), _store(secret_to)
    at_once = revoke == "now"

    async def work(gemini: "Registrations") -> None:
        found = await at_gemini.picked(gemini, settings, webhook)
        secret = await at_gemini.sure(gemini.rotate(found.id, at_once=at_once), "rotate once more")
        now = app.now()  # after the answer, so that Gemini's end is no later than ours
        ends = None if at_once else now + timedelta(hours=24)
        _say(f"{found.id} signs with a new secret; the ones before {_end(ends)}")
        if store is None and ends is not None:
            _say(f"They may stay in GEMINI_WEBHOOK_SECRETS, as whsec_…;until={until(ends)}")
        change = rotated(secret, found.secrets, ends, now)

        def told(before: Sequence[str]) -> Sequence[str]:
            if others := endless(before, found.secrets):
                _say(f"{others} other secret(s) stay there without an end: Gemini shows none as {found.id}'s")
            return change(before)

        _keep(store, secret, told)

    at_gemini.run(settings, work)


@webhooks.command()
@_id
@click.option("--events", is_flag=True, help="Set its events as configured, too.")
@click.pass_obj
def enable(config: Path | None, webhook: str | None, events: bool) -> None:
    """Switch a webhook on again, whoever switched it off."""
    from orchestrator.domain.registration import ENABLED

    settings = at_gemini.settings(config)

    async def work(gemini: "Registrations") -> None:
        found = await at_gemini.picked(gemini, settings, webhook)
        wanted = settings.webhooks.events if events else None
        changed = await gemini.change(found.id, state=ENABLED, events=wanted)
        _say(f"{changed.id} was {found.state} and is {changed.state}")

    at_gemini.run(settings, work)


@webhooks.command()
@click.argument("webhook", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@click.pass_obj
def delete(config: Path | None, webhook: str, yes: bool) -> None:
    """Remove a webhook; what is on its way to it is lost, and its secret is worth nothing any more."""
    from orchestrator.cli import consent

    settings = at_gemini.settings(config)
    if not yes:
        found = at_gemini.run(settings, lambda gemini: gemini.get(webhook))
        consent.confirm(f"Remove {found.id}, which sends to {consoles.plain(found.uri)}?")
    at_gemini.run(settings, lambda gemini: gemini.delete(webhook))
    _say(f"{webhook} is removed")


def _store(secret_to: str) -> "SecretFile | None":
    """Where the secret will go, looked at before there is one."""
    from orchestrator.cli.secret_store import store_of

    store = store_of(secret_to)
    if store is not None:
        store.check()
    return store


def _keep(store: "SecretFile | None", secret: str, change: "Change") -> None:
    """Put the secret where it belongs; if that fails it is printed, for nobody can ask for it again."""
    if store is None:
        _say(
            "Its signing secret is told this once. Add it to GEMINI_WEBHOOK_SECRETS and restart the service:"
        )
        click.echo(secret)
        return
    try:
        store.change(change)
    except (OSError, OrchestratorError) as e:
        _say("Its signing secret is told this once, and could not be written. Keep it yourself:")
        click.echo(secret)
        why = e.strerror if isinstance(e, OSError) else str(e)
        raise click.ClickException(f"{store.path} is as it was: {why}") from e
    _say(f"Its signing secret is in {store.path}; restart the service so that it knows it.")


def _end(ends: Any) -> str:
    from orchestrator.cli.secret_store import until

    return f"end at {until(ends)}" if ends else "have ended"


def _say(text: str) -> None:
    """To the person; the standard output is for what was asked for."""
    click.echo(consoles.plain(text), err=True)
