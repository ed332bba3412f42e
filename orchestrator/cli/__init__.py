"""`orchestrator`: one command for each job. Heavy imports stay inside the commands."""

import sys
from pathlib import Path

import rich_click as click
from click import exceptions

from orchestrator import telemetry
from orchestrator.cli import (
    approvals,
    audit,
    callbacks,
    client,
    db,
    deliveries,
    demo,
    doctor,
    effects,
    emulator,
    files,
    jobs,
    policy,
    runs,
    serve,
    settings,
    slack,
    tokens,
    tools,
    triggers,
    webhooks,
)
from orchestrator.errors import OrchestratorError

click.rich_click.COMMAND_GROUPS = {
    "orchestrator": [
        {"name": "See it work", "commands": ["demo"]},
        {"name": "Run it", "commands": ["serve", "worker", "doctor", "db"]},
        {
            "name": "Ask it",
            "commands": [
                *("approvals", "runs", "jobs", "files", "effects"),
                *("deliveries", "callbacks", "triggers", "audit"),
            ],
        },
        {"name": "Set it up", "commands": ["tools", "policy", "tokens", "slack", "webhooks", "settings"]},
        {"name": "Try things without accounts", "commands": ["emulator"]},
    ]
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gemini-orchestrator", prog_name="orchestrator")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ORCHESTRATOR_CONFIG",
    help="The configuration file; else ./config.yaml.",
)
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Long-running Gemini agents that act with a person's consent.

    A run is started over HTTP. Gemini thinks, asks for tools; free ones run at once, gated ones
    wait for a person in Slack; what was approved is what runs, once; the record says who decided.

    New here? `orchestrator demo` shows the whole job on this machine, without any account.
    """
    telemetry.configure("warning")
    ctx.obj = config


for command in (demo.demo, serve.serve, doctor.doctor, db.db, tools.tools, tokens.tokens, settings.settings):
    cli.add_command(command)
cli.add_command(emulator.emulator)
cli.add_command(effects.effects)
cli.add_command(approvals.approvals)
cli.add_command(audit.audit)
cli.add_command(callbacks.callbacks)
cli.add_command(policy.policy)
cli.add_command(runs.runs)
cli.add_command(files.files)
cli.add_command(jobs.jobs)
cli.add_command(deliveries.deliveries)
cli.add_command(serve.worker)
cli.add_command(webhooks.webhooks)
cli.add_command(triggers.triggers)
cli.add_command(slack.slack)


def main() -> None:
    """Run a command; what it gives up with is one clear text and an exit code (see `client`)."""
    try:
        cli(standalone_mode=False)
    except OrchestratorError as e:
        sys.stderr.write(f"orchestrator: {e}\n")
        sys.exit(client.exit_code(e))
    except click.Abort:
        sys.exit(130)
    except click.ClickException as e:
        e.show()
        sys.exit(e.exit_code)
    except exceptions.Exit as e:
        sys.exit(e.exit_code)
