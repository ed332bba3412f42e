"""What commands share that ask the running service: its address, the token, its answers, and a no.

Clients and nothing more: the service decides, and its record says who asked.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
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

url_option = click.option(
    "--url", metavar="URL", help="Where the service is; else this machine, at server.port of the settings."
)
token_option = click.option(
    "--token-env",
    metavar="NAME",
    default=TOKEN_ENV,
    show_default=True,
    help="The variable that holds the token.",
)
limit_option = click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most lines."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object per line, for programs.")
reason_option = click.option("--reason", default="", help="Why, for the run's record.")
ids_argument = click.argument("ids", metavar="ID...", nargs=-1, required=True)


def service_at(config: Path | None, url: str | None, token_env: str) -> "httpx.Client":
    """A client of the service, to be closed by the caller. Raises `ConfigError`."""
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
    if parsed.userinfo:
        raise ConfigError("--url must hold no name and password: the token says who asks")
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


def ask(service: "httpx.Client", method: str, path: str, **request: Any) -> "httpx.Response":
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
        raise ConfigError(f"the service refused the token: {detail(answer)}")
    if answer.status_code == 429 or answer.status_code >= 500:
        raise UnavailableError(f"the service does not do it now: {detail(answer)}")
    return answer


def listed(
    service: "httpx.Client", path: str, which: Mapping[str, str], limit: int
) -> tuple[list[dict[str, Any]], bool]:
    """A list of the service page by page; and whether there is more than `limit`."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None and len(found) < limit:
        page = {"limit": str(min(100, limit - len(found))), **({"cursor": cursor} if cursor else {})}
        answer = ask(service, "GET", path, params={**which, **page})
        if answer.status_code != 200:
            raise ConfigError(f"the service refused: {detail(answer)}")
        body = content(answer, "items", "next")
        found += body["items"]
        cursor = body["next"]
    return found, cursor is not None


def content(answer: "httpx.Response", *names: str) -> dict[str, Any]:
    """The object in an answer of the service. Raises `UnavailableError` where something else answered."""
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict) or not value.keys() >= {*names}:
        raise UnavailableError(f"HTTP {answer.status_code}, and no answer of this service")
    return value


def each(
    service: "httpx.Client",
    ids: Sequence[str],
    path: Callable[[str], str],
    reason: str,
    done: Callable[[Mapping[str, Any]], str],
) -> None:
    """POST for one after the other; a no to one does not keep the others.

    Args:
        path: Of an id.
        done: What is said of an answer.

    Raises:
        ClickException: Some were refused.
    """
    refused = 0
    for one in ids:
        answer = ask(service, "POST", path(one), json={"reason": reason})
        if answer.status_code == 200:
            click.echo(plain(done(content(answer, "id"))))
        else:
            refused += 1
            click.echo(plain(f"{one}: {detail(answer)}"), err=True)
    if refused:
        raise click.ClickException(f"{refused} of {len(ids)} refused")


def detail(answer: "httpx.Response") -> str:
    """The service's own words, or the status where something else answered."""
    try:
        problem = answer.json()
        told = problem.get("detail") or problem.get("title")
    except (ValueError, AttributeError):
        told = ""
    return plain(str(told or f"HTTP {answer.status_code}, and no answer of this service"))


def part(text: str) -> str:
    """Any text as one part of a path."""
    from urllib.parse import quote

    return quote(text, safe="~") or "-"


def plain(text: str) -> str:
    """Neighbours' words without what a terminal would obey."""
    return "".join(ch if ch.isprintable() else "?" for ch in text)


def show_lines(found: Iterable[Mapping[str, Any]]) -> None:
    """For programs."""
    for one in found:
        click.echo(json.dumps(one))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, whole: int, more: bool) -> None:
    """For people. The first `whole` columns are never broken."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns)
    for column in table.columns[:whole]:
        column.no_wrap = True
    for cells in rows:
        table.add_row(*(Text(plain(str(cell)), overflow="fold") for cell in cells))
    Console().print(table)
    if more:
        click.echo("there are more: raise --limit", err=True)
