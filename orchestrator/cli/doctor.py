"""`orchestrator doctor`."""

from pathlib import Path

import rich_click as click


@click.command()
@click.pass_obj
def doctor(config: Path | None) -> None:
    """Say what is missing before real Gemini and real Slack can be used; exit code 1 if anything is."""
    import asyncio
    import sys

    from rich.table import Table
    from rich.text import Text

    from orchestrator.cli.consoles import console, plain
    from orchestrator.cli.examination import examine

    table = Table(title="orchestrator doctor")
    for column in ("", "what", "finding"):
        table.add_column(column)
    findings = asyncio.run(examine(config))
    for finding in findings:
        mark = {"ok": "[green]ok[/]", "warn": "[yellow]look[/]", "bad": "[red]missing[/]"}[finding.state]
        table.add_row(mark, finding.what, Text("\n".join(map(plain, finding.text.split("\n")))))
    console().print(table)
    sys.exit(1 if any(f.state == "bad" for f in findings) else 0)
