"""`orchestrator runs`: start, look, follow, stop, settle and retry, over the running service's own API."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from orchestrator.cli import client, consoles
from orchestrator.cli.entries import instant

if TYPE_CHECKING:
    import httpx

STATUSES = ("queued", "running", "waiting", "resuming", "completed", "failed", "cancelled", "attention")
CHOICES = ("happened", "retry", "give_up")
MOST_SHOWN = 200
"""Characters of what a step came to; all of it is in the JSON."""
AGAIN = ("failed", "cancelled", "attention")

_id = click.argument("run", metavar="ID")


@click.group()
def runs() -> None:
    """Start runs, look at them, stop them, and settle what only a person can know.

    Asks the running service; the token needs the scope `trigger` to start, `read` to look, `operate` for
    the rest.

    \b
    Exit codes
      0  done; of a watched run: it completed
      1  the service said no; of a watched run: it failed or was cancelled
      2  wrong: the command, its input, a setting or the token
      3  the service could not be asked, or not now
      4  of a watched run: it is in attention, a person must settle it
    """


@runs.command()
@click.argument("workflow")
@click.argument("text", metavar="INPUT")
@click.option("--key", metavar="KEY", help="An idempotency key: the same key and input give the same run.")
@click.option("--callback", metavar="URL", help="Address that is told of the run by signed webhooks.")
@click.option("--watch", "watched", is_flag=True, help="Follow it to its end and exit as `runs watch` does.")
@client.one_json_option
@client.over_the_api
def start(
    reach: client.Reach,
    workflow: str,
    text: str,
    key: str | None,
    callback: str | None,
    watched: bool,
    as_json: bool,
) -> None:
    """Start a run of WORKFLOW; INPUT is text, or a JSON object where the workflow declares fields."""
    said = {"idempotency_key": key, "callback": callback}
    body = {"input": _fields(text), **{k: v for k, v in said.items() if v is not None}}
    with reach() as service:
        told = client.posted(service, f"/v1/workflows/{client.part(workflow)}/runs", body)
        consoles.show_one(told, [f"{told['id']} is {told['status']}"], as_json=as_json)
        if watched:
            _follow(service, told["id"], as_json=as_json)


@runs.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only those; `attention` waits for you.")
@click.option("--workflow", metavar="NAME", help="Of one workflow only.")
@client.limit_option
@client.json_option
@client.over_the_api
def list_(reach: client.Reach, status: str | None, workflow: str | None, limit: int, as_json: bool) -> None:
    """The newest first."""
    which = {k: v for k, v in (("status", status), ("workflow", workflow)) if v is not None}
    with reach() as service:
        found, more = client.listed(service, "/v1/runs", which, limit)
    nothing = "no such run" if which else "no run was started yet"
    columns = ("run", "workflow", "status", "turn", "started", "why")
    consoles.show_list(found, as_json=as_json, nothing=nothing, columns=columns, cells=_cells, more=more)


@runs.command()
@_id
@client.one_json_option
@client.over_the_api
def show(reach: client.Reach, run: str, as_json: bool) -> None:
    """The run ID with its turns and calls."""
    with reach() as service:
        told = _read(service, run)
    consoles.show_one(told, _lines(told), as_json=as_json)


@runs.command()
@_id
@client.json_option
@client.over_the_api
def watch(reach: client.Reach, run: str, as_json: bool) -> None:
    """Follow the run ID: what happened so far, then what happens, until it ends.

    A connection that breaks is taken up where it broke. Ctrl-C ends the watching, never the run. With
    --json each line is one entry of the run's record, the last one {"end": STATUS, "reason", "output"}.
    """
    with reach() as service:
        _follow(service, run, as_json=as_json)


@runs.command()
@client.ids_argument
@client.reason_option
@client.json_option
@client.over_the_api
def cancel(reach: client.Reach, ids: Sequence[str], reason: str, as_json: bool) -> None:
    """Stop the runs ID...; nothing starts for them afterwards."""
    with reach() as service:
        client.each(
            service,
            ids,
            lambda one: f"/v1/runs/{client.part(one)}/cancel",
            reason,
            lambda told: f"{told['id']} is {told['status']}",
            as_json=as_json,
        )


@runs.command()
@_id
@click.argument("choice", type=click.Choice(CHOICES))
@click.option("--call", metavar="ID", help="Which call, where several are in doubt.")
@click.option("--result", metavar="TEXT", help="With `happened`: what the model is told; text or an object.")
@client.one_json_option
@client.over_the_api
def resolve(
    reach: client.Reach, run: str, choice: str, call: str | None, result: str | None, as_json: bool
) -> None:
    """Settle what the run ID waits for in `attention`: it happened, try it again, or give the run up."""
    body: dict[str, Any] = {"choice": choice, **({} if call is None else {"call": call})}
    if result is not None:
        body["result"] = _fields(result)
    with reach() as service:
        told = client.posted(service, f"/v1/runs/{client.part(run)}/resolve", body)
    consoles.show_one(told, [f"{told['id']} is {told['status']}"], as_json=as_json)


@runs.command()
@_id
@client.one_json_option
@client.over_the_api
def restart(reach: client.Reach, run: str, as_json: bool) -> None:
    """Take the work of the run ID up in a new one, which is told what was done so far.

    For a run that failed, was cancelled, or waits for a person. Twice is once.
    """
    with reach() as service:
        told = client.posted(service, f"/v1/runs/{client.part(run)}/restart", {})
    consoles.show_one(told, [f"{told['id']} goes on with the work of {run}"], as_json=as_json)


@runs.command()
@_id
@client.one_json_option
@client.over_the_api
def retry(reach: client.Reach, run: str, as_json: bool) -> None:
    """Try the work of the run ID again, the way its state allows, and say which that was.

    Where a request to Gemini got lost, the same run sends it again. One that failed, was cancelled or was
    refused is taken up by a new run (`restart`). Where nobody knows whether a tool ran, only you can tell
    (`resolve`).
    """
    with reach() as service:
        path = f"/v1/runs/{client.part(run)}"
        if _lost(_read(service, run)):
            told = client.posted(service, f"{path}/resolve", {"choice": "retry"})
            what = f"{told['id']} is {told['status']}: the request to Gemini that got lost is sent again"
        else:
            told = client.posted(service, f"{path}/restart", {})
            what = f"{told['id']} goes on with the work of {run}"
    consoles.show_one(told, [what], as_json=as_json)


def _lost(run: Mapping[str, Any]) -> bool:
    """Whether the same run can go on, its create being lost; else it takes a new one.

    Raises:
        ClickException: There is nothing to try again, or only a person knows whether there is.
    """
    if doubtful := [c["tool"] for c in run["calls"] if c["status"] == "in_doubt"]:
        raise click.ClickException(
            consoles.plain(
                f"nobody knows whether {', '.join(doubtful)} ran: look, then say "
                f"`orchestrator runs resolve {run['id']} happened`, `retry` or `give_up`"
            )
        )
    if run["status"] not in AGAIN:
        raise click.ClickException(
            f"{run['id']} is {run['status']}: retried is what failed, was cancelled or needs attention"
        )
    return run["status"] == "attention" and bool(run["turns"]) and run["turns"][-1]["status"] == "lost"


def _read(service: "httpx.Client", run: str) -> dict[str, Any]:
    return client.one(service, f"/v1/runs/{client.part(run)}", "id", "calls", "turns")


def _follow(service: "httpx.Client", run: str, *, as_json: bool) -> None:
    """Ends the program with how the run ended."""
    from orchestrator.cli import watching

    sys.exit(watching.run(service, run, as_json=as_json))


def _fields(text: str) -> object:
    """A JSON object as one, anything else as the text it is."""
    try:
        value = client.typed(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def _steps(run: Mapping[str, Any]) -> Iterator[str]:
    """Each step, how it stands, and what it came to."""
    for number, step in enumerate(run["steps"], 1):
        name = step["name"]
        made = f" {_short(run['outputs'][name])}" if name in run["outputs"] else ""
        what = f" {step['tool']}" if step["tool"] else ""
        yield f"step {number:<5} {name} ({step['kind']}{what}): {step['state']}{made}"


def _short(value: object) -> str:
    made = json.dumps(value, ensure_ascii=False)
    return f"{made[:MOST_SHOWN]}…" if len(made) > MOST_SHOWN else made


def _stands(call: Mapping[str, Any]) -> str:
    """How a call was settled, or stands: a yes alone does not say that it ran."""
    ended = f" {call['outcome']}" if call["outcome"] else ""
    asked = f", {call['approval']['status']} ({call['approval']['id']})" if call["approval"] else ""
    return f"{call['status']}{ended}{asked}"


def _cells(run: Mapping[str, Any]) -> list[object]:
    return [run["id"], run["workflow"], run["status"], run["turn"], instant(run["created_at"]), run["reason"]]


def _lines(run: Mapping[str, Any]) -> Iterator[str]:
    """A run for people: facts, then turn by turn what was said and asked for."""
    names = ("run", "workflow", "status", "turn", "started", "why")
    yield from (f"{n:<10} {v}" for n, v in zip(names, _cells(run), strict=True) if v != "")
    if run["restart_of"]:
        yield f"{'restart of':<10} {run['restart_of']}"
    yield from (f"{'input':<10} {line}" for line in run["input"].split("\n"))
    yield from _steps(run)
    yield from (f"{'source':<10} {source['url']}" for source in run["sources"])
    for turn in run["turns"]:
        where = turn["interaction_id"] or "–"
        yield f"turn {turn['number']:<5} {turn['status']} {turn['gemini_status']} {where}"
        yield from (f"  said     {line}" for line in turn["said"].split("\n") if line)
        for call in (c for c in run["calls"] if c["turn"] == turn["number"]):
            yield f"  call     {call['tool']} {json.dumps(call['arguments'])}: {_stands(call)}"
            if call["outcome"] not in (None, "succeeded"):
                yield f"  because  {_short(call['result'])}"
            yield from (f"  job      {job['id']} {job['kind']} {job['status']}" for job in call["jobs"])
    if run["progress"]["jobs"]:
        yield f"{'jobs':<10} {run['progress']['jobs']}"
    yield from (f"{'output':<10} {line}" for line in run["output"].split("\n") if line)
