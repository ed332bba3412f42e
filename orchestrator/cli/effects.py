"""`orchestrator effects`: what was given up or waits, over the running service's own API.

A client and nothing more: the service decides, and its record says who asked.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from orchestrator.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    import httpx

TOKEN_ENV: Final = "ORCHESTRATOR_API_TOKEN"  # noqa: S105 - the name of a variable, not a token
PATIENCE_SECONDS: Final = 10.0
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not listened on
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

_url = click.option(
    "--url", metavar="URL", help="Where the service is; else this machine, at server.port of the settings."
)
_token = click.option(
    "--token-env",
    metavar="NAME",
    default=TOKEN_ENV,
    show_default=True,
    help="The variable that holds the token.",
)
_reason = click.option("--reason", default="", help="Why, for the run's record.")
_ids = click.argument("ids", metavar="ID...", nargs=-1, required=True)


@click.group()
def effects() -> None:
    """List what was given up, try it again, or drop it.

    Asks the running service; the token needs the scope `read` to list and `operate` to change.
    Exit code 1: the service said no; 2: it could not be asked.
    """


@effects.command("list")
@click.option(
    "--state",
    type=click.Choice(("dead", "pending", "claimed")),
    default="dead",
    show_default=True,
    help="Given up, waiting for its time, or being performed.",
)
@click.option("--run", "run_id", metavar="ID", help="Of one run only.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most lines.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, for programs.")
@_url
@_token
@click.pass_obj
def list_(
    config: Path | None,
    state: str,
    run_id: str | None,
    limit: int,
    as_json: bool,
    url: str | None,
    token_env: str,
) -> None:
    """What was given up, newest first; or what waits, the soonest first."""
    with _service(config, url, token_env) as service:
        found, more = _listed(service, {"state": state, **({"run": run_id} if run_id else {})}, limit)
    if as_json:
        for effect in found:
            click.echo(json.dumps(effect))
    else:
        _show(found, state, more)


@effects.command()
@_ids
@_reason
@_url
@_token
@click.pass_obj
def retry(config: Path | None, ids: Sequence[str], reason: str, url: str | None, token_env: str) -> None:
    """Try the effects ID... again now: given up, or waiting for their time (but no timers)."""
    _each(config, ids, "retry", "is due now", reason, url, token_env)


@effects.command()
@_ids
@_reason
@_url
@_token
@click.pass_obj
def drop(config: Path | None, ids: Sequence[str], reason: str, url: str | None, token_env: str) -> None:
    """Give the effects ID... up. The service refuses where a run would wait in vain."""
    _each(config, ids, "drop", "is dropped", reason, url, token_env)


def _each(
    config: Path | None,
    ids: Sequence[str],
    action: str,
    done: str,
    reason: str,
    url: str | None,
    token_env: str,
) -> None:
    """One after the other; a no to one does not keep the others."""
    refused = 0
    with _service(config, url, token_env) as service:
        for effect_id in ids:
            answer = _ask(
                service, "POST", f"/v1/effects/{_part(effect_id)}/{action}", json={"reason": reason}
            )
            if answer.status_code == 200:
                told = answer.json()
                click.echo(_plain(f"{told['id']} {told['kind']} of {told['subject']} {done}"))
            else:
                refused += 1
                click.echo(_plain(f"{effect_id}: {_detail(answer)}"), err=True)
    if refused:
        raise click.ClickException(f"{refused} of {len(ids)} refused")


def _listed(service: "httpx.Client", which: dict[str, str], limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Page by page; and whether there is more than `limit`."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None and len(found) < limit:
        page = {"limit": str(min(100, limit - len(found))), **({"cursor": cursor} if cursor else {})}
        answer = _ask(service, "GET", "/v1/effects", params={**which, **page})
        if answer.status_code != 200:
            raise ConfigError(f"the service refused: {_detail(answer)}")
        body = answer.json()
        found += body["items"]
        cursor = body["next"]
    return found, cursor is not None


def _service(config: Path | None, url: str | None, token_env: str) -> "httpx.Client":
    import httpx

    base = url or _own_address(config)
    token = os.environ.get(token_env, "").strip()
    if not token:
        raise ConfigError(f"{token_env} is not set: put an API token into it, or name another by --token-env")
    if not (token.isascii() and token.isprintable()):
        raise ConfigError(f"{token_env} holds characters no header takes")
    try:
        parsed = httpx.URL(base)
    except httpx.InvalidURL as e:
        raise ConfigError(f"--url: {e}") from e
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError("--url must be http:// or https:// and a host")
    return httpx.Client(
        base_url=parsed,
        headers={"authorization": f"Bearer {token}"},
        timeout=PATIENCE_SECONDS,
        trust_env=parsed.host not in _LOOPBACK,  # nothing on this machine goes through a proxy
    )


def _own_address(config: Path | None) -> str:
    """Where the service of these settings listens, seen from this machine."""
    from orchestrator.settings import load

    server = load(config, need_secrets=False).server
    if server.port == 0:
        raise ConfigError("server.port is 0, which means any: say by --url where the service is")
    host = _ANYWHERE.get(server.host, server.host)
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


def _ask(service: "httpx.Client", method: str, path: str, **request: Any) -> "httpx.Response":
    """The service's answer, if it is one a request may have.

    Raises:
        UnavailableError: Nobody answers there, or not now.
        ConfigError: The token is refused.
    """
    import httpx

    where = str(service.base_url).rstrip("/")
    try:
        answer = service.request(method, path, **request)
    except httpx.TransportError as e:
        raise UnavailableError(f"the service is not reached at {where}: {e or type(e).__name__}") from e
    if answer.status_code in (401, 403):
        raise ConfigError(f"the service refused the token: {_detail(answer)}")
    if answer.status_code == 429 or answer.status_code >= 500:
        raise UnavailableError(f"the service does not do it now: {_detail(answer)}")
    return answer


def _detail(answer: "httpx.Response") -> str:
    """The service's own words, or the status where something else answered."""
    try:
        problem = answer.json()
        told = problem.get("detail") or problem.get("title")
    except (ValueError, AttributeError):
        told = ""
    return _plain(str(told or f"HTTP {answer.status_code}, and no answer of this service"))


def _part(effect_id: str) -> str:
    from urllib.parse import quote

    return quote(effect_id, safe="") or "-"


def _plain(text: str) -> str:
    """Neighbours' words without what a terminal would obey."""
    return "".join(ch if ch.isprintable() else "?" for ch in text)


def _show(found: Sequence[dict[str, Any]], state: str, more: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not found:
        click.echo(f"no effect is {state}")
        return
    table = Table("effect", "kind", "of", "run", "due", "tries", "last error")
    for column in table.columns[:2]:
        column.no_wrap = True
    for e in found:
        cells = (
            e["id"],
            e["kind"],
            e["subject"],
            e["run"] or "–",
            e["due_at"][:19],
            e["attempts"],
            e["error"],
        )
        table.add_row(*(Text(_plain(str(cell)), overflow="fold") for cell in cells))
    Console().print(table)
    if more:
        click.echo("there are more: raise --limit", err=True)
