"""`orchestrator policy`: what the rules say about calls, before a model makes them."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from orchestrator.cli import client

if TYPE_CHECKING:
    from orchestrator.cli.cases import Result


@click.group()
def policy() -> None:
    """Try the policy of config.yaml and the tools on calls; nothing is run and nobody is asked."""


@policy.command()
@click.argument("cases", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def test(config: Path | None, cases: Path, as_json: bool) -> None:
    """Run the calls of the file CASES through the policy, and compare.

    \b
    cases:
      - name: a large refund is asked about
        workflow: refund
        tool: refund_order
        arguments: {order_id: A-17, amount: "500.00"}
        expect: ask                # allow, ask, deny, unknown or invalid
        approvers: [role:finance]  # who may decide in all; optional, as are:
        quorum: 2                  # how many must say yes in all
        reason: "too much"         # what the reason for the model must hold

    Exit code 1: a case came out otherwise; 2: the file or the configuration cannot be used.
    """
    from orchestrator import tooling
    from orchestrator.cli.cases import load_cases, run_case
    from orchestrator.settings import load

    settings = load(config, need_secrets=False)
    wanted = load_cases(cases, settings)
    toolkit = tooling.toolkit(settings)
    results = [run_case(case, settings, toolkit) for case in wanted]
    if as_json:
        for r in results:
            told = {"name": r.case.name, "ok": not r.wrong, "expected": r.case.expect, "got": r.got}
            click.echo(json.dumps({**told, "wrong": list(r.wrong), "why": r.why}, ensure_ascii=False))
    else:
        _print(results)
    sys.exit(1 if any(r.wrong for r in results) else 0)


def _print(results: "Sequence[Result]") -> None:
    from rich.table import Table
    from rich.text import Text

    from orchestrator.cli.consoles import console

    table = Table("", "case", "tool", "ruling", "why")
    for r in results:
        mark = Text("wrong", "red") if r.wrong else Text("ok", "green")
        told = Text("\n".join((*r.wrong, r.why)))
        table.add_row(mark, Text(r.case.name), Text(r.case.tool), r.got, told)
    console().print(table)
    bad = sum(1 for r in results if r.wrong)
    click.echo(f"{len(results) - bad} of {len(results)} as expected")


@policy.command()
@click.argument("tool")
@click.option("--workflow", required=True, metavar="NAME", help="The workflow whose model makes the call.")
@click.option("--arguments", default="{}", metavar="JSON", help="The call's arguments, a JSON object.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def explain(config: Path | None, tool: str, workflow: str, arguments: str, as_json: bool) -> None:
    """What would become of a call of TOOL, and which rule says so."""
    from orchestrator import tooling
    from orchestrator.cli import cases
    from orchestrator.domain.exchange import FunctionCall
    from orchestrator.settings import load

    settings = load(config, need_secrets=False)
    recipe = cases.recipe_of(settings, workflow)
    found = tooling.toolkit(settings).explain(recipe, FunctionCall("explain", tool, _object(arguments)))
    if as_json:
        click.echo(json.dumps(cases.as_json(found), indent=2, ensure_ascii=False))
        return
    click.echo(f"{found.finding.ruling}: {cases.why(found)}")
    if found.finding.reason and found.judgement is not None:
        click.echo(f"the model is told: {found.finding.reason}")


def _object(text: str) -> dict[str, Any]:
    from orchestrator.errors import ConfigError

    try:
        value = client.typed(text)
    except ValueError as e:
        raise ConfigError(f"--arguments: {e}") from None
    if not isinstance(value, dict):
        raise ConfigError("--arguments: must be a JSON object")
    return value
