"""`orchestrator settings`: what can be set."""

from pathlib import Path

import rich_click as click


@click.group()
def settings() -> None:
    """List every setting, or check the ones you have."""


@settings.command()
def table() -> None:
    """Every setting with its variable and default, as a Markdown table."""
    from orchestrator.settings import markdown_table

    click.echo(markdown_table())


@settings.command()
@click.pass_obj
def check(config: Path | None) -> None:
    """Read config.yaml, the environment and the tools, and say what is wrong with them."""
    from orchestrator import advice, app, arming, parts, tooling
    from orchestrator.settings import load

    loaded = load(config)
    toolkit = tooling.toolkit(loaded)
    arming.arm(loaded, toolkit)
    arming.verifiers(loaded)
    parts.around(loaded, app.now)
    for line in advice.advise(loaded, app.now()):
        click.echo(f"look: {line}", err=True)
    click.echo(f"good: {len(loaded.workflows)} workflows, {len(toolkit.tools)} tools")
