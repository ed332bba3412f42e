"""`orchestrator jobs`: films and batches that runs wait for, over the running service's own API."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from orchestrator.cli import client, consoles
from orchestrator.cli.entries import instant

if TYPE_CHECKING:
    import httpx

KINDS: Final = ("video", "video_interaction", "batch")
STATUSES: Final = (
    *("queued", "intended", "sending", "unknown", "live", "storing"),
    *("lost", "succeeded", "failed", "cancelled", "expired"),
)
EXIT: Final = {"succeeded": 0, "failed": 1, "cancelled": 1, "expired": 1, "lost": 1}
"""How watching a job ends, as an exit code; a run in attention that still waits for it is 4."""
MOST_NAMED: Final = 10
"""Entries of a list of facts that people are shown; all of them are in its JSON."""

_id = click.argument("job", metavar="ID")


@click.group()
def jobs() -> None:
    """List long jobs, show one, follow it, or ask once more for what came to nothing.

    Asks the running service; the token needs the scope `read` to look and `trigger` to resubmit.

    \b
    Exit codes
      0  done; of a watched job: it succeeded
      1  the service said no; of a watched job: any other end
      2  wrong: the command, a setting or the token
      3  the service could not be asked, or not now
      4  of a watched job: its run is in attention, a person must settle it
    """


@jobs.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only those; `live` ones are made at Gemini.")
@click.option("--kind", type=click.Choice(KINDS), help="Of one kind only.")
@click.option("--workflow", metavar="NAME", help="Of one workflow only.")
@click.option("--run", metavar="ID", help="All of one run instead, in the order they were wished for.")
@client.limit_option
@client.json_option
@client.over_the_api
def list_(reach: client.Reach, /, run: str | None, limit: int, as_json: bool, **which: str | None) -> None:
    """The newest first."""
    chosen = {name: value for name, value in which.items() if value is not None}
    if run is not None and chosen:
        raise click.UsageError("--run stands alone: it lists all jobs of that run")
    with reach() as service:
        if run is not None:
            found = client.one(service, f"/v1/runs/{client.part(run)}/jobs", "items")["items"]
            found, more = found[:limit], len(found) > limit
        else:
            found, more = client.listed(service, "/v1/jobs", chosen, limit)
    nothing = "no such job" if chosen or run else "no job was asked for yet"
    columns = ("job", "kind", "status", "run", "no.", "asked for", "files", "why")
    consoles.show_list(found, as_json=as_json, nothing=nothing, columns=columns, cells=_cells, more=more)


@jobs.command()
@_id
@client.one_json_option
@client.over_the_api
def show(reach: client.Reach, job: str, as_json: bool) -> None:
    """The job ID with what it made."""
    with reach() as service:
        told = _read(service, job)
    consoles.show_one(told, _lines(told), as_json=as_json)


@jobs.command()
@_id
@client.json_option
@client.over_the_api
def watch(reach: client.Reach, job: str, as_json: bool) -> None:
    """Follow the job ID until it ends, by the record of its run.

    A connection that breaks is taken up where it broke. With --json each line is the job as it was then.
    """
    from orchestrator.cli import watching

    with reach() as service:
        told, last = _read(service, job), None
        for what, entry in watching.Record(service, told["run"]):
            if what == "run" or job in json.dumps(entry["data"]):
                told = _read(service, job)
            if (state := (told["status"], told["attempt"], told["said"])) != last:
                last = state
                watching.say(json.dumps(told) if as_json else consoles.plain(_sentence(told)))
            if told["status"] in EXIT:
                sys.exit(EXIT[told["status"]])
        sys.exit(4)


@jobs.command()
@_id
@client.one_json_option
@client.over_the_api
def resubmit(reach: client.Reach, job: str, as_json: bool) -> None:
    """Put the lines of the batch ID that failed, or have no answer, into another batch, in a new run.

    Of a film that is lost: make it anew, and every other lost one of its call. They may have been made and
    billed before.

    Policy says whether people are asked first. Twice is once.
    """
    with reach() as service:
        told = client.posted(service, f"/v1/jobs/{client.part(job)}/resubmit", {})
    words = f"{told['id']} is {told['status']}: {told['input']}"
    consoles.show_one(told, [words], as_json=as_json)


def _read(service: "httpx.Client", job: str) -> dict[str, Any]:
    return client.one(service, f"/v1/jobs/{client.part(job)}", "id", "run", "status", "files", "facts")


def _sentence(job: Mapping[str, Any]) -> str:
    again = f", attempt {job['attempt']}" if job["attempt"] > 1 else ""
    return f"{job['id']} is {job['status']}{again}" + (f": {job['said']}" if job["said"] else "")


def _cells(job: Mapping[str, Any]) -> list[object]:
    files = ", ".join(f["path"] for f in job["files"])
    asked = instant(job["created_at"])
    return [job["id"], job["kind"], job["status"], job["run"], job["number"], asked, files, job["said"]]


def _lines(job: Mapping[str, Any]) -> Iterator[str]:
    """A job for people: what it is, how it stands, what it made."""
    names = ("run", "workflow", "tool", "call", "kind", "model", "status", "attempt", "remote", "said")
    times = ("created_at", "sent_at", "ended_at")
    yield f"{'job':<13} {job['id']}"
    yield from (f"{name:<13} {job[name]}" for name in (*names, *times) if job[name])
    yield from (
        f"{name:<13} {_short(value)}" for name, value in (*job["counts"].items(), *job["facts"].items())
    )
    gone = ", removed as too old" if job.get("files_gone_at") else ""
    for file in job["files"]:
        yield f"{'file':<13} {file['path']} {file['type']} {file['bytes']} bytes{gone}"
        yield f"{'':<13} sha256 {file['sha256']}"


def _short(value: object) -> str:
    if isinstance(value, list):
        more = f" and {len(value) - MOST_NAMED} more" if len(value) > MOST_NAMED else ""
        return (", ".join(str(one) for one in value[:MOST_NAMED]) or "none") + more
    return json.dumps(value, ensure_ascii=False)
