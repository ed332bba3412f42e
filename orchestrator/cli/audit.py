"""`orchestrator audit`: is the record of who decided what still what was written?"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import rich_click as click

from orchestrator.cli import client, consoles
from orchestrator.cli.db import looked_at, settings_of
from orchestrator.cli.entries import instant

if TYPE_CHECKING:
    from sqlalchemy import Connection

MOST_FAULTS = 50
"""Faults that are told; `--json` has all."""


@click.group()
def audit() -> None:
    """Verify, export or show the audit: who asked, who decided, what ran.

    Reads `database.url` of the settings, also while the service runs, and changes nothing.
    """


@audit.command()
@click.option(
    "--head",
    metavar="SEQ:HASH",
    help="A head that was published earlier, from the log or Slack: without one a cut tail is not seen.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@click.pass_obj
def verify(config: Path | None, head: str | None, as_json: bool) -> None:
    """Follow the whole chain, then hold it against what the tables say; exit code 1 if something is amiss."""
    from orchestrator.errors import ConfigError, InvalidError
    from orchestrator.store import audit_check
    from orchestrator.store.chain import Head

    try:
        published = Head.read(head) if head is not None else None
    except InvalidError as e:
        raise ConfigError(f"--head: {e}") from None
    with _at_one_moment(config) as conn:
        walked = audit_check.walk(conn, published)
        found = audit_check.compare(conn) if walked.broken is None else audit_check.Attested()
    broken = walked.broken
    if as_json:
        at = {"seq": broken.seq, "why": broken.why} if broken else None
        rows = {"approvals": found.approvals, "older": found.older, "faults": [*found.faults]}
        click.echo(json.dumps({"head": str(walked.head), "broken": at, **rows}))
    elif broken:
        click.echo(f"entry {broken.seq} {broken.why}")
        click.echo(f"{walked.head.seq} entries before it hold")
    else:
        _say(walked.head.seq, str(walked.head), found.approvals, found.older, found.faults)
    if broken or found.faults:
        raise click.ClickException("the audit does not hold")


def _say(entries: int, head: str, approvals: int, older: int, faults: tuple[str, ...]) -> None:
    for fault in faults[:MOST_FAULTS]:
        click.echo(consoles.plain(fault))
    if len(faults) > MOST_FAULTS:
        click.echo(f"and {len(faults) - MOST_FAULTS} more: --json tells all")
    if entries:
        click.echo(f"{entries} entries hold, the chain ends at {head}")
    else:
        click.echo("the chain is empty: nothing was ever written down here")
    told = "all is as the audit says" if not faults else f"{len(faults)} faults"
    click.echo(f"{approvals} approvals compared, {older} of them older than the audit: {told}")


@audit.command()
@click.option(
    "--from", "first", type=click.IntRange(1), default=1, show_default=True, help="The first entry."
)
@click.option("--to", "last", type=click.IntRange(1), help="The last entry; else the end of the chain.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A file that is not there yet.",
)
@click.pass_obj
def export(config: Path | None, first: int, last: int | None, out: Path) -> None:
    """Write entries as JSON Lines: each with its body as it was hashed, so that anybody can verify them."""
    from orchestrator.store import audit_check
    from orchestrator.store.audit import audit_t
    from orchestrator.store.run_rows import UNREADABLE

    within = [audit_t.c.seq >= first, *([audit_t.c.seq <= last] if last is not None else [])]
    count = 0
    with _at_one_moment(config) as conn, _whole(out) as file:
        try:
            for row in audit_check.rows(conn, *within):
                file.write(json.dumps(_line(row)) + "\n")
                count += 1
        except UNREADABLE as e:
            raise click.ClickException(f"entry {first + count}, or one soon after it, cannot be read") from e
    click.echo(f"{out}: {count} entries")


@contextmanager
def _whole(out: Path) -> Iterator[IO[str]]:
    """A new file; none is left of what breaks off. Raises `ConfigError`."""
    from orchestrator.errors import ConfigError

    try:
        file = out.open("x", encoding="utf-8")
    except OSError as e:
        raise ConfigError(f"--out: {out} cannot be written: {e.strerror}") from e
    try:
        with file:
            yield file
    except BaseException as e:
        out.unlink(missing_ok=True)
        if isinstance(e, OSError):
            raise ConfigError(f"--out: {out} cannot be written: {e.strerror}") from e
        raise


@audit.command()
@click.argument("run", metavar="RUN")
@client.json_option
@click.pass_obj
def show(config: Path | None, run: str, as_json: bool) -> None:
    """The entries of one run, in their order."""
    from orchestrator.store import audit_check
    from orchestrator.store.audit import audit_t

    with _at_one_moment(config) as conn:
        found = [*audit_check.rows(conn, audit_t.c.run_id == run)]
    if not found:
        raise click.ClickException(f"{consoles.plain(run)}: the audit knows no such run")
    if as_json:
        consoles.show_lines(_line(row) for row in found)
        return
    cells = [_cells(row) for row in found]
    consoles.show_table(("entry", "at", "what", "who", "about", "hash"), cells, whole=3, more=False)


@contextmanager
def _at_one_moment(config: Path | None) -> Iterator["Connection"]:
    """The database as it is now; what is written meanwhile is not seen."""
    from orchestrator import opening
    from orchestrator.store import migrate
    from orchestrator.store.sql.standstill import unhurried

    settings = settings_of(config)
    with opening.failures_told(settings), looked_at(settings) as engine, engine.connect() as conn:
        migrate.require_current(engine)
        if conn.dialect.name == "sqlite":
            conn.exec_driver_sql("BEGIN")
        else:
            conn = conn.execution_options(isolation_level="REPEATABLE READ")
            unhurried(conn)
        yield conn
        conn.rollback()


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    columns = ("tenant", "seq", "kind", "approval", "body", "previous", "hash")
    return {**{c: row[c] for c in columns}, "run": row["run_id"], "at": row["at"].isoformat()}


def _cells(row: Mapping[str, Any]) -> list[object]:
    said = json.loads(row["body"])
    by = said.get("by") or said.get("requester") or said.get("approved_by")
    who = f"{by['name'] or by['id']} ({by['door']})" if by else "–"
    names = ("status", "verdict", "why", "outcome", "tool", "workflow", "reason", "because", "choice", "note")
    about = ", ".join(f"{n} {said[n]}" for n in names if said.get(n))
    told = f"{row['approval']}: {about}" if row["approval"] else about
    return [row["seq"], instant(row["at"].isoformat()), row["kind"], who, told, row["hash"][:12]]
