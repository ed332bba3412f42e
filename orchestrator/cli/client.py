"""What commands share that ask the running service: its address, the token, its answers, and a no.

Clients and nothing more: the service decides, and its record says who asked. How every command ends,
also those that ask Gemini or a database:

    0  done
    1  a no about the thing itself: it is not there, has moved on, or is not yours to decide (404, 409, 403;
       of Gemini, any refusal)
    2  change something first: the command, its input (400, 422), a setting, the token (401, or a 403 that
       names the scope it lacks)
    3  not now: nobody is reached, or whoever answers cannot do it or is not the service (429, 5xx)

A command that has more to tell begins at 4 and says so in its help; what a person breaks off ends in 130.
"""

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from orchestrator.cli.consoles import plain
from orchestrator.errors import (
    ConfigError,
    OrchestratorError,
    RejectedError,
    UnavailableError,
    UncertainError,
)

if TYPE_CHECKING:
    import httpx

TOKEN_ENV: Final = "ORCHESTRATOR_API_TOKEN"  # noqa: S105 - the name of a variable, not a token
PATIENCE_SECONDS: Final = 10.0
MAX_DEPTH: Final = 64
"""Of JSON somebody types; the service has a limit of its own."""
NOT_OURS: Final = "HTTP {}, and no answer of this service"
_CHALLENGE: Final = "www-authenticate"
"""The header of an answer that is about the token, and no other."""
_NO: Final = frozenset({403, 404, 409})
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not listened on
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

_url = click.option(
    "--url", metavar="URL", help="Where the service is; else this machine, at server.port of the settings."
)
_token_env = click.option(
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
one_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
reason_option = click.option("--reason", default="", help="Why, for the run's record.")
ids_argument = click.argument("ids", metavar="ID...", nargs=-1, required=True)


Reach = Callable[[], "httpx.Client"]
"""A client of the service, to be closed by the caller. Raises `ConfigError`."""


def over_the_api(command: Callable[..., None]) -> Callable[..., None]:
    """A command that asks the running service: where that is, and by which token, are options of it.

    Goes below the command's own options; the command takes a `Reach` before everything else.
    """

    @functools.wraps(command)
    def reaching(
        config: Path | None, /, *given: object, url: str | None, token_env: str, **more: object
    ) -> None:
        command(functools.partial(_service_at, config, url, token_env), *given, **more)

    return _url(_token_env(click.pass_obj(reaching)))


def _service_at(config: Path | None, url: str | None, token_env: str) -> "httpx.Client":
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
        UnavailableError: Nobody answers there, or not now, or somebody else.
        ConfigError: The token is refused, or the request can be none.
    """
    import httpx

    where = str(service.base_url).rstrip("/")
    try:
        made = service.build_request(method, path, **request)
    except ValueError as e:  # not a text, or a number JSON has not
        raise ConfigError("what was given cannot be sent: it holds something that is no JSON") from e
    try:
        answer = service.send(made)
    except httpx.RequestError as e:  # also an answer that is broken in itself
        raise UnavailableError(f"the service is not reached at {where}: {e or type(e).__name__}") from e
    return judged(answer)


def judged(answer: "httpx.Response") -> "httpx.Response":
    """The same, if it is an answer a request may have; raises as `ask`."""
    if not answer.is_success and not _is_problem(answer):
        raise UnavailableError(detail(answer))
    if answer.status_code == 401 or (answer.status_code == 403 and _CHALLENGE in answer.headers):
        raise ConfigError(f"the service refused the token: {detail(answer)}")
    if answer.status_code == 429 or answer.status_code >= 500:
        raise UnavailableError(f"the service does not do it now: {detail(answer)}")
    return answer


def one(service: "httpx.Client", path: str, *names: str) -> dict[str, Any]:
    """What stands at a path, with those fields.

    Raises:
        ClickException: The service has no such thing.
        ConfigError: It does not take the request.
    """
    answer = ask(service, "GET", path)
    if answer.status_code in _NO:
        raise click.ClickException(detail(answer))
    if answer.status_code != 200:
        raise ConfigError(f"the service refused: {complaint(answer)}")
    return content(answer, *names)


def posted(service: "httpx.Client", path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """What the service made of a wish.

    Raises:
        ClickException: It said no: the thing is not there, or has moved on.
        ConfigError: The wish does not fit; names the fields.
    """
    answer = ask(service, "POST", path, json=dict(body))
    return sent(answer, "id", "status")


def sent(answer: "httpx.Response", *names: str) -> dict[str, Any]:
    """What the service made of a wish that it answers with those fields; raises as `posted`."""
    if answer.status_code in (200, 202):
        return content(answer, *names)
    if answer.status_code in _NO:
        raise click.ClickException(detail(answer))
    raise ConfigError(f"the service refused: {complaint(answer)}")


def complaint(answer: "httpx.Response") -> str:
    """The service's own words and the fields it names, where its words do not name them yet."""
    said = detail(answer)
    try:
        errors = (_told(answer) or {}).get("errors") or []
        told = [f"{e['field']}: {e['message']}" for e in errors if f"{e['field']} {e['message']}" not in said]
    except (AttributeError, TypeError, UnavailableError):
        told = []
    return said + plain(f" ({'; '.join(told)})" if told else "")


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
            raise ConfigError(f"the service refused: {complaint(answer)}")
        body = content(answer, "items", "next")
        items, cursor = body["items"], body["next"]
        sound = isinstance(items, list) and all(isinstance(one, dict) for one in items)
        if not sound or (cursor is not None and not items):  # a page without end
            raise UnavailableError(NOT_OURS.format(answer.status_code))
        found += items
    return found, cursor is not None


def content(answer: "httpx.Response", *names: str) -> dict[str, Any]:
    """The object in an answer of the service. Raises `UnavailableError` where something else answered."""
    value = _told(answer)
    if value is None or not value.keys() >= {*names}:
        raise UnavailableError(NOT_OURS.format(answer.status_code))
    return value


class _Told(dict[str, Any]):
    """An object of the service's; whoever looks for what is not in it, asked somebody else."""

    def __missing__(self, key: str) -> Any:
        raise UnavailableError(f"no answer of this service, or of one this old or new: it lacks {key!r}")


def read(text: str | bytes) -> Any:
    """JSON of the service. Raises `UnavailableError` where something else speaks."""
    try:
        return json.loads(text, object_hook=_Told)
    except (ValueError, RecursionError) as e:
        raise UnavailableError("no answer of this service: it is no JSON") from e


def typed(text: str) -> Any:
    """JSON as somebody typed it. Raises `ValueError` for what could be read in two ways, too."""
    from orchestrator.strictjson import StrictReader

    return StrictReader(depth=MAX_DEPTH).read(text.encode())


def _told(answer: "httpx.Response") -> dict[str, Any] | None:
    """The object in an answer, if there is one."""
    try:
        value = read(answer.content)
    except UnavailableError:
        return None
    return value if isinstance(value, dict) else None


def each(
    service: "httpx.Client",
    ids: Sequence[str],
    path: Callable[[str], str],
    reason: str,
    done: Callable[[Mapping[str, Any]], str],
    *,
    as_json: bool = False,
) -> None:
    """POST for one after the other; a no to one does not keep the others.

    Args:
        path: Of an id.
        done: What is said of an answer, to people.

    Raises:
        ClickException: Some were refused.
        ConfigError: Some do not fit.
    """
    refused = 0
    told_off: type[click.ClickException | ConfigError] = click.ClickException
    for one in ids:
        answer = ask(service, "POST", path(one), json={"reason": reason})
        if answer.status_code == 200:
            told = content(answer, "id")
            click.echo(json.dumps(told) if as_json else plain(done(told)))
        else:
            refused += 1
            told_off = told_off if answer.status_code in _NO else ConfigError
            click.echo(plain(f"{one}: {detail(answer)}"), err=True)
    if refused:
        raise told_off(f"{refused} of {len(ids)} refused")


def _is_problem(answer: "httpx.Response") -> bool:
    """Whether it is the service that says no, and not something in between."""
    return "title" in (_told(answer) or {})


def exit_code(error: OrchestratorError) -> int:
    """How a command ends that gave up with this."""
    match error:
        case RejectedError():
            return 1
        case UnavailableError() | UncertainError():
            return 3
        case _:
            return 2


def detail(answer: "httpx.Response") -> str:
    """The service's own words, or the status where something else answered."""
    problem = _told(answer) or {}
    return plain(str(problem.get("detail") or problem.get("title") or NOT_OURS.format(answer.status_code)))


def part(text: str) -> str:
    """Any text as one part of a path."""
    from urllib.parse import quote

    return quote(text, safe="~", errors="surrogateescape") or "-"  # as the shell gave it
