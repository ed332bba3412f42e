"""`orchestrator files`: what the jobs of a run have made, over the running service's own API."""

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from orchestrator.cli import client, consoles
from orchestrator.cli.entries import instant
from orchestrator.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    import httpx


@click.group()
def files() -> None:
    """List the files of a run, or copy one here.

    Asks the running service; the token needs the scope `read`.
    """


@files.command("list")
@click.argument("run", metavar="RUN")
@client.json_option
@client.over_the_api
def list_(reach: client.Reach, run: str, as_json: bool) -> None:
    """The files of RUN, each with the path that `get` takes."""
    with reach() as service:
        found = client.one(service, f"/v1/runs/{client.part(run)}/files", "items")["items"]
    if as_json:
        consoles.show_lines(found)
    elif not found:
        click.echo("no files")
    else:
        rows = [(f["path"], f["type"], f["bytes"], f["sha256"], instant(f.get("gone_at"))) for f in found]
        consoles.show_table(("path", "type", "bytes", "sha256", "removed"), rows, whole=1, more=False)


@files.command()
@click.argument("path", metavar="PATH")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file that is not there yet; else one of the path's own name, here.",
)
@client.over_the_api
def get(reach: client.Reach, path: str, out: Path | None) -> None:
    """Copy the file PATH (as `list` shows it) here, and hold it against its checksum."""
    run, _, name = path.partition("/")
    if not (run and name) or "/" in name or name.startswith("."):
        raise ConfigError("PATH must be as `orchestrator files list` shows it: <run>/<name>")
    target = out or Path(name)
    with reach() as service:
        size = _copied(service, f"/v1/files/{client.part(run)}/{client.part(name)}", target)
    click.echo(f"{target}: {size} bytes")


def _copied(service: "httpx.Client", path: str, target: Path) -> int:
    """The file, whole or not at all."""
    import httpx

    try:
        with service.stream("GET", path) as answer:
            if answer.status_code != 200:
                answer.read()
                raise click.ClickException(client.detail(client.judged(answer)))
            return _saved(answer, target)
    except httpx.RequestError as e:
        raise UnavailableError(f"the file did not come whole: {e or type(e).__name__}") from e


def _saved(answer: "httpx.Response", target: Path) -> int:
    digest, size = sha256(), 0
    try:
        file = target.open("xb")
    except OSError as e:
        raise ConfigError(f"--out: {target} cannot be written: {e.strerror}") from e
    try:
        with file:
            for chunk in answer.iter_bytes():
                size += file.write(chunk)
                digest.update(chunk)
        if answer.headers.get("etag", "").strip('"') != digest.hexdigest():
            raise UnavailableError("the file is not the one that was recorded: its checksum differs")
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return size
