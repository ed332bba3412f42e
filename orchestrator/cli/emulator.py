"""`orchestrator emulator`: the stand-in Gemini and the local Slack, for trying things."""

import asyncio
from pathlib import Path
from typing import Any

import rich_click as click


@click.group()
def emulator() -> None:
    """Run a stand-in Gemini or a local Slack on this machine.

    They speak the documented wire to the real client libraries. Point the service at them with
    ORCHESTRATOR_GEMINI__BASE_URL and ORCHESTRATOR_SLACK__API_URL.
    """


@emulator.command()
@click.option("--port", default=8090, show_default=True, help="Port on 127.0.0.1; 0 takes a free one.")
@click.option(
    "--scenarios", type=click.Path(exists=True, path_type=Path), help="YAML file of scripted turns."
)
@click.option("--think", default=0.5, show_default=True, help="Seconds each turn takes.")
@click.option("--webhook", "uri", help="Address to deliver static webhooks to.")
@click.option("--secret", help="Its signing secret, whsec_…")
def gemini(port: int, scenarios: Path | None, think: float, uri: str | None, secret: str | None) -> None:
    """The Interactions API with webhooks; without --scenarios it improvises from the declared tools."""
    from orchestrator.emulator.gemini.app import build
    from orchestrator.emulator.gemini.settings import EmulatorSettings, StaticWebhook

    hooks = (StaticWebhook(uri=uri, secret=secret),) if uri and secret else ()
    settings = EmulatorSettings(scenarios=scenarios, think_seconds=think, webhooks=hooks)
    asyncio.run(_serve("Gemini", build(settings), port, "/_emulator/stats"))


@emulator.command()
@click.option("--port", default=8091, show_default=True, help="Port on 127.0.0.1; 0 takes a free one.")
@click.option("--interactivity", help="Where clicks go, the service's /slack/interactivity.")
@click.option("--signing-secret", default="local-signing-secret", show_default=True)
@click.option("--bot-token", default="xoxb-local", show_default=True)
def slack(port: int, interactivity: str | None, signing_secret: str, bot_token: str) -> None:
    """The Web API methods the service uses, and a page to read and click."""
    from orchestrator.emulator.slack.app import build
    from orchestrator.emulator.slack.settings import SlackEmulatorSettings

    settings = SlackEmulatorSettings(
        bot_token=bot_token, signing_secret=signing_secret, interactivity_url=interactivity
    )
    asyncio.run(_serve("Slack", build(settings), port, "/"))


async def _serve(name: str, app: Any, port: int, page: str) -> None:
    from orchestrator.emulator.serving import running

    async with running(app, port=port) as address:
        click.echo(f"{name} stand-in at {address} (look at {address}{page}), stop with Ctrl-C")
        await asyncio.Event().wait()
