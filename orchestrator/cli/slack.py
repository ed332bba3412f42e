"""`orchestrator slack`: make the app at Slack, and see whether it is set up."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from orchestrator.cli import client, consoles
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from orchestrator.settings import Settings


@click.group()
def slack() -> None:
    """Make the Slack app, and see whether it is set up.

    Once: paste what `manifest` prints at api.slack.com/apps, "Create New App", "From a manifest"; install
    it, set SLACK_BOT_TOKEN and SLACK_SIGNING_SECRET (with Socket Mode SLACK_APP_TOKEN instead), invite the
    app to its channels. Then `check`.
    """


@slack.command("manifest")
@click.option(
    "--socket-mode/--no-socket-mode",
    default=None,
    help="Without addresses of ours: we connect to Slack; else as slack.socket_mode says.",
)
@click.option("--name", default=None, help="What people see it called, at most 35 characters.")
@client.one_json_option
@click.pass_obj
def manifest_(config: Path | None, socket_mode: bool | None, name: str | None, as_json: bool) -> None:
    """Print the app's manifest, as YAML: its addresses at `public_url`, and the scopes that are used.

    No token or secret is needed for it.
    """
    import yaml

    from orchestrator.cli import slack_plan
    from orchestrator.cli.db import settings_of
    from orchestrator.slack import manifest

    settings = settings_of(config)
    connects = settings.slack.socket_mode if socket_mode is None else socket_mode
    called = (manifest.NAME if name is None else name).strip()
    if not (0 < len(called) <= manifest.MOST_NAME and called.isprintable()):
        raise click.UsageError(f"--name must have 1 to {manifest.MOST_NAME} characters")
    if settings.public_url is None and not connects:
        raise ConfigError("public_url is not set: Slack would not know where to send; or use --socket-mode")
    drawn = manifest.manifest(
        settings.public_url,
        name=called,
        socket_mode=connects,
        bot_scopes=slack_plan.plan(settings).scopes,
    )
    if as_json:
        click.echo(json.dumps(drawn, ensure_ascii=False))
    else:
        click.echo(yaml.safe_dump(drawn, sort_keys=False, allow_unicode=True), nl=False)


@slack.command()
@click.option("--post", is_flag=True, help="Post a test card to slack.channel, too; it asks nothing.")
@client.json_option
@click.pass_obj
def check(config: Path | None, post: bool, as_json: bool) -> None:
    """Try the token, its scopes, each channel and user group; exit code 1 if anything is missing.

    Works on Slack itself, with the settings' token; the service need not run.
    """
    import asyncio

    from orchestrator.cli import slack_plan

    found = asyncio.run(slack_plan.looks(_settings(config), post=post))
    if as_json:
        consoles.show_lines({"state": f.state, "what": f.what, "text": f.text} for f in found)
    else:
        marks = {"ok": "ok", "warn": "look", "bad": "missing"}
        rows = [(marks[f.state], f.what, f.text) for f in found]
        consoles.show_table(("", "what", "finding"), rows, whole=2, more=False)
    if any(f.state == "bad" for f in found):
        raise click.ClickException("Slack is not set up for everything that is asked of it")


def _settings(config: Path | None) -> "Settings":
    from orchestrator.cli.db import settings_of

    settings = settings_of(config)
    if not settings.slack.enabled:
        raise ConfigError("slack.enabled is false: there is nothing to check")
    if not settings.slack.bot_token:
        raise ConfigError("SLACK_BOT_TOKEN is not set: it says whose app is meant")
    if settings.slack.socket_mode and not settings.slack.app_token:
        raise ConfigError("SLACK_APP_TOKEN is not set; it is needed while slack.socket_mode is true")
    return settings
