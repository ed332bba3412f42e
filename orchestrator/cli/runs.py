"""`orchestrator runs`: start, look, stop, settle and restart, over the running service's own API."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from orchestrator.cli import client
from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    import httpx

STATUSES = ("queued", "running", "waiting", "resuming", "completed", "failed", "cancelled", "attention")
CHOICES = ("happened", "retry", "give_up")

_id = click.argument("run", metavar="ID")


@click.group()
def runs() -> None:
    """Start runs, look at them, stop them, and settle what only a person can know.

    Asks the running service; the token needs the scope `trigger` to start, `read` to look, `operate` for
    the rest. Exit code 1: the service said no; 2: it could not be asked.
    """


@runs.command()
@click.argument("workflow")
@click.argument("text", metavar="INPUT")
@click.option("--key", metavar="KEY", help="An idempotency key: the same key and input give the same run.")
@client.url_option
@client.token_option
@click.pass_obj
def start(
    config: Path | None, workflow: str, text: str, key: str | None, url: str | None, token_env: str
) -> None:
    """Start a run of WORKFLOW; INPUT is text, or a JSON object where the workflow declares fields."""
    body: dict[str, Any] = {"input": _fields(text), **({"idempotency_key": key} if key else {})}
    with client.service_at(config, url, token_env) as service:
        told = _posted(service, f"/v1/workflows/{client.part(workflow)}/runs", body)
    click.echo(client.plain(f"{told['id']} is {told['status']}"))


@runs.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only those; `attention` waits for you.")
@click.option("--workflow", metavar="NAME", help="Of one workflow only.")
@client.limit_option
@client.json_option
@client.url_option
@client.token_option
@click.pass_obj
def list_(
    config: Path | None,
    status: str | None,
    workflow: str | None,
    limit: int,
    as_json: bool,
    url: str | None,
    token_env: str,
) -> None:
    """The newest first."""
    which = {k: v for k, v in (("status", status), ("workflow", workflow)) if v is not None}
    with client.service_at(config, url, token_env) as service:
        found, more = client.listed(service, "/v1/runs", which, limit)
    if as_json:
        client.show_lines(found)
    elif not found:
        click.echo("no such run" if which else "no run was started yet")
    else:
        columns = ("run", "workflow", "status", "turn", "started", "why")
        client.show_table(columns, [_cells(r) for r in found], whole=1, more=more)


@runs.command()
@_id
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@client.url_option
@client.token_option
@click.pass_obj
def show(config: Path | None, run: str, as_json: bool, url: str | None, token_env: str) -> None:
    """The run ID with its turns and calls."""
    with client.service_at(config, url, token_env) as service:
        answer = client.ask(service, "GET", f"/v1/runs/{client.part(run)}")
    if answer.status_code != 200:
        raise click.ClickException(f"{client.plain(run)}: {client.detail(answer)}")
    told = client.content(answer, "id", "calls", "turns")
    for line in [json.dumps(told)] if as_json else _lines(told):
        click.echo(client.plain(line))


@runs.command()
@client.ids_argument
@client.reason_option
@client.url_option
@client.token_option
@click.pass_obj
def cancel(config: Path | None, ids: Sequence[str], reason: str, url: str | None, token_env: str) -> None:
    """Stop the runs ID...; nothing starts for them afterwards."""
    with client.service_at(config, url, token_env) as service:
        client.each(
            service,
            ids,
            lambda one: f"/v1/runs/{client.part(one)}/cancel",
            reason,
            lambda told: f"{told['id']} is {told['status']}",
        )


@runs.command()
@_id
@click.argument("choice", type=click.Choice(CHOICES))
@click.option("--call", metavar="ID", help="Which call, where several are in doubt.")
@click.option("--result", metavar="TEXT", help="With `happened`: what the model is told; text or an object.")
@client.url_option
@client.token_option
@click.pass_obj
def resolve(
    config: Path | None,
    run: str,
    choice: str,
    call: str | None,
    result: str | None,
    url: str | None,
    token_env: str,
) -> None:
    """Settle what the run ID waits for in `attention`: it happened, try it again, or give the run up."""
    body: dict[str, Any] = {"choice": choice, **({"call": call} if call else {})}
    if result is not None:
        body["result"] = _fields(result)
    with client.service_at(config, url, token_env) as service:
        told = _posted(service, f"/v1/runs/{client.part(run)}/resolve", body)
    click.echo(client.plain(f"{told['id']} is {told['status']}"))


@runs.command()
@_id
@client.url_option
@client.token_option
@click.pass_obj
def restart(config: Path | None, run: str, url: str | None, token_env: str) -> None:
    """Take the work of the run ID up in a new one, which is told what was done so far.

    For a run that failed, was cancelled, or waits for a person. Twice is once.
    """
    with client.service_at(config, url, token_env) as service:
        told = _posted(service, f"/v1/runs/{client.part(run)}/restart", {})
    click.echo(client.plain(f"{told['id']} goes on with the work of {run}"))


def _fields(text: str) -> object:
    """A JSON object as one, anything else as the text it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def _posted(service: "httpx.Client", path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    answer = client.ask(service, "POST", path, json=dict(body))
    if answer.status_code in (200, 202):
        return client.content(answer, "id", "status")
    if answer.status_code in (404, 409):
        raise click.ClickException(client.detail(answer))
    raise ConfigError(f"the service refused: {client.detail(answer)}{_named(answer)}")


def _named(answer: "httpx.Response") -> str:
    """The fields the service names, in its words."""
    try:
        errors = answer.json().get("errors") or []
        told = "; ".join(f"{e['field']}: {e['message']}" for e in errors)
    except (ValueError, AttributeError, KeyError, TypeError):
        told = ""
    return client.plain(f" ({told})") if told else ""


def _cells(run: Mapping[str, Any]) -> list[object]:
    return [run["id"], run["workflow"], run["status"], run["turn"], run["created_at"][:19], run["reason"]]


def _lines(run: Mapping[str, Any]) -> Iterator[str]:
    """A run for people: facts, then turn by turn what was said and asked for."""
    names = ("run", "workflow", "status", "turn", "started", "why")
    yield from (f"{n:<10} {v}" for n, v in zip(names, _cells(run), strict=True) if v != "")
    if run["restart_of"]:
        yield f"{'restart of':<10} {run['restart_of']}"
    yield from (f"{'input':<10} {line}" for line in run["input"].split("\n"))
    for turn in run["turns"]:
        where = turn["interaction_id"] or "–"
        yield f"turn {turn['number']:<5} {turn['status']} {turn['gemini_status']} {where}"
        yield from (f"  said     {line}" for line in turn["said"].split("\n") if line)
        for call in (c for c in run["calls"] if c["turn"] == turn["number"]):
            asked = f", {call['approval']['status']} ({call['approval']['id']})" if call["approval"] else ""
            yield f"  call     {call['tool']} {json.dumps(call['arguments'])}: {call['status']}{asked}"
    yield from (f"{'output':<10} {line}" for line in run["output"].split("\n") if line)
