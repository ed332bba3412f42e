"""`orchestrator tools`: what the model may call, and under which policy."""

import json
from pathlib import Path

import rich_click as click


@click.group()
def tools() -> None:
    """List, check or print the tools that config.yaml names."""


@tools.command("list")
@click.option("--workflow", metavar="NAME", help="As it stands for that workflow, and its tools only.")
@click.pass_obj
def list_(config: Path | None, workflow: str | None) -> None:
    """Every tool with the rule in force for it, and what is forbidden whatever a rule says."""
    from rich.markup import escape
    from rich.table import Table

    from orchestrator import tooling
    from orchestrator.cli.cases import recipe_of
    from orchestrator.cli.consoles import console
    from orchestrator.settings import load
    from orchestrator.toolkit.report import list_tools

    table = Table("tool", "module", "policy", "who decides", "preview", "idempotent", "timeout")
    settings = load(config, need_secrets=False)
    of = recipe_of(settings, workflow).tools if workflow else None
    for t in list_tools(tooling.toolkit(settings), workflow or ""):
        if of is not None and t.name not in of:
            continue
        repeatable = "yes" if t.idempotent else "no"
        table.add_row(
            *(t.name, t.module, escape(t.approval), escape(t.deciders), t.preview or "none"),
            *(repeatable, f"{t.timeout_seconds:g} s"),
        )
    console().print(table)


@tools.command()
@click.pass_obj
def check(config: Path | None) -> None:
    """Load every module and say what is wrong; exit code 2 if anything is."""
    from orchestrator import tooling
    from orchestrator.errors import ConfigError
    from orchestrator.settings import load
    from orchestrator.toolkit.report import check_tools

    settings = load(config, need_secrets=False)
    report = check_tools(
        Path(settings.tools.folder),
        settings.tools.modules,
        built_in=tooling.built_in(settings),
        **tooling.rules(settings),
    )
    if not report.ok:
        raise ConfigError("\n".join(report.problems))
    click.echo(f"good: {', '.join(t.name for t in report.tools)}")
    for tool in report.tools:
        if tool.preview:
            click.echo(f"{tool.name}: shows what it would do ({tool.preview})")
        for words in tool.forbidden:
            click.echo(f"{tool.name}: {words}")
    for pattern in report.idle:
        click.echo(f"approvals.forbidden: no tool is called {pattern} so far")


@tools.command()
@click.argument("name")
@click.pass_obj
def schema(config: Path | None, name: str) -> None:
    """Print the declaration of the tool NAME as Gemini is given it."""
    from orchestrator import tooling
    from orchestrator.settings import load
    from orchestrator.toolkit.report import schema_of

    click.echo(json.dumps(schema_of(tooling.toolkit(load(config, need_secrets=False)), name), indent=2))
