"""`orchestrator approvals`: see what waits for a person and answer it, over the running service's own API.

Nothing is approved unseen: a person is shown the card and asked, a program names the digest of what it saw.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from orchestrator.cli import cards, client, several

if TYPE_CHECKING:
    import httpx

STATUSES = ("pending", "approved", "rejected", "expired", "withdrawn")
_SHORTEST: Final = 16
"""Digits of a digest that are enough for the service."""

_REFUSED: Final = (403,)
"""Not yours to decide: an answer about the approval."""

_id = click.argument("approval", metavar="ID")
_reason = click.option("--reason", default="", help="Why; kept, and of a rejection told to the model.")
_digest = click.option(
    "--digest",
    metavar="HEX",
    default="",
    help="What was seen, by at least 16 digits of its digest; anything else is refused.",
)
_ids = click.argument("ids", metavar="ID...", nargs=-1, required=True)
_digests = click.option(
    "--digest",
    "digests",
    metavar="HEX",
    multiple=True,
    help="What was seen, by at least 16 digits of its digest, one for each ID in their order; anything else"
    " is refused.",
)
_yes = click.option("--yes", is_flag=True, help="Do not ask, for programs; goes with --digest.")


@click.group()
def approvals() -> None:
    """See what waits for a person, and answer it.

    Asks the running service; the token needs the scope `read` to look and `decide` to answer, and must
    be named among those who may decide (as `api:NAME`, or as the Slack user it stands for).

    \b
    Exit codes
      0  done
      1  the service said no: decided by somebody else, changed, not yours to decide
      2  not like that: the command, its input, a setting or the token
      3  the service could not be asked, or not now
    """


@approvals.command("list")
@click.option(
    "--status",
    type=click.Choice((*STATUSES, "all")),
    default="pending",
    show_default=True,
    help="Only those that stand like that.",
)
@client.limit_option
@client.json_option
@client.url_option
@client.token_option
@click.pass_obj
def list_(
    config: Path | None, status: str, limit: int, as_json: bool, url: str | None, token_env: str
) -> None:
    """What waits for an answer, the newest first."""
    which = {} if status == "all" else {"status": status}
    with client.service_at(config, url, token_env) as service:
        found, more = client.listed(service, "/v1/approvals", which, limit)
    if as_json:
        client.show_lines(found)
    elif not found:
        click.echo("nothing waits for an answer" if status == "pending" else "there is none")
    else:
        now = datetime.now(UTC)
        client.show_table(cards.COLUMNS, [cards.row(a, now=now) for a in found], whole=1, more=more)


@approvals.command()
@_id
@client.one_json_option
@client.url_option
@client.token_option
@click.pass_obj
def show(config: Path | None, approval: str, as_json: bool, url: str | None, token_env: str) -> None:
    """Everything there is to know before deciding about ID."""
    with client.service_at(config, url, token_env) as service:
        told = _shown(service, approval)
    _print(told, as_json=as_json)


@approvals.command()
@_ids
@_digests
@_reason
@_yes
@client.one_json_option
@client.url_option
@client.token_option
@click.pass_obj
def approve(
    config: Path | None,
    ids: tuple[str, ...],
    digests: tuple[str, ...],
    reason: str,
    yes: bool,
    as_json: bool,
    url: str | None,
    token_env: str,
) -> None:
    """Let ID happen: shows it, and asks you; of several, about each.

    A program says what it saw instead: `--yes --digest HEX`, as `show --json` gave it, one for each ID and in
    their order. If a question has changed since, it is not approved. Several are decided each by itself; with
    --json the answer has what became of each.
    """
    if len(ids) > 1:
        sealed_each = [_sealed(d, yes=yes) for d in several.paired(ids, digests, needed=yes)]
        with client.service_at(config, url, token_env) as service:
            wanted = several.seen(service, ids, sealed_each, still=None if yes else _still)
            if not yes:
                wanted = [told for told in wanted if _approved_by_hand(told)]
            several.decide(service, wanted, "approve", reason, as_json=as_json)
        return
    [approval], digest = ids, several.only(digests)
    sealed = _sealed(digest, yes=yes)
    with client.service_at(config, url, token_env) as service:
        if not yes:
            told = _shown(service, approval)
            _still(told, sealed)
            _print(told)
            if not cards.whole(told):
                raise click.ClickException("it cannot be shown whole here: nothing was approved")
            _confirm("Approve?")
            sealed = told["digest"]
        told = _answered(service, approval, {"verdict": "approve", "digest": sealed, "reason": reason})
    _tell(told, as_json=as_json)


@approvals.command()
@_ids
@_digests
@_reason
@click.option("--stop", is_flag=True, help="And stop the whole run; with one ID.")
@client.one_json_option
@client.url_option
@client.token_option
@click.pass_obj
def reject(
    config: Path | None,
    ids: tuple[str, ...],
    digests: tuple[str, ...],
    reason: str,
    stop: bool,
    as_json: bool,
    url: str | None,
    token_env: str,
) -> None:
    """Do not let ID happen; the model is told so, with your reason. Several are decided each by itself."""
    if len(ids) > 1:
        if stop:
            raise click.UsageError("--stop goes with one ID")
        sealed = [_checked(d) for d in several.paired(ids, digests, needed=False)]
        with client.service_at(config, url, token_env) as service:
            wanted = several.seen(service, ids, sealed)
            several.decide(service, wanted, "reject", reason, as_json=as_json)
        return
    [approval], digest = ids, several.only(digests)
    body: dict[str, Any] = {"verdict": "reject", "digest": _checked(digest), "reason": reason}
    body |= {"stop": True} if stop else {}
    with client.service_at(config, url, token_env) as service:
        told = _answered(service, approval, body)
    _tell(told, as_json=as_json)


@approvals.command()
@_id
@_digest
@click.option("--reason", required=True, help="What the agent should change in its plan.")
@client.one_json_option
@client.url_option
@client.token_option
@click.pass_obj
def refine(
    config: Path | None,
    approval: str,
    digest: str,
    reason: str,
    as_json: bool,
    url: str | None,
    token_env: str,
) -> None:
    """Send an agent's plan back; it makes another one and asks again."""
    body = {"verdict": "refine", "digest": _checked(digest), "reason": reason}
    with client.service_at(config, url, token_env) as service:
        told = _answered(service, approval, body)
    _tell(told, as_json=as_json)


@approvals.command()
@_id
@click.option("--set", "changes", metavar="KEY=VALUE", multiple=True, help="One argument; may be repeated.")
@click.option(
    "--arguments", type=click.File(encoding="utf-8"), help="All of them, as a JSON object; - reads them here."
)
@_digest
@_reason
@_yes
@client.one_json_option
@client.url_option
@client.token_option
@click.pass_obj
def edit(
    config: Path | None,
    approval: str,
    changes: Sequence[str],
    arguments: Any,
    digest: str,
    reason: str,
    yes: bool,
    as_json: bool,
    url: str | None,
    token_env: str,
) -> None:
    """Change the arguments of ID, where its terms allow that; without options, in your $EDITOR.

    With --set a VALUE is taken as it stands where the argument is text now, else as JSON. What does not fit
    the tool is refused. The changed call is a question of its own, with an ID of its own; as the terms have
    it, your change is a yes to it, or somebody else approves it.
    """
    if changes and arguments:
        raise click.UsageError("--set and --arguments exclude each other")
    if yes and not (changes or arguments):
        raise click.UsageError("--yes needs --set or --arguments")
    sealed = _sealed(digest, yes=yes)
    with client.service_at(config, url, token_env) as service:
        told = _shown(service, approval)
        _still(told, sealed)
        if told["edits"] == "no":
            raise click.ClickException(f"the arguments of {told['tool']} may not be changed here")
        changed = _changed(told["arguments"], changes, arguments)
        if not yes:
            _print(told)
            click.echo("\n".join(["as you would have it", *cards.shown(changed, _width())]))
            _confirm("Send this?")
        body = {"verdict": "edit", "arguments": changed, "digest": told["digest"], "reason": reason}
        told = _answered(service, approval, body)
    if not (as_json or told["id"] == approval):
        click.echo(client.plain(f"{approval} is replaced by {told['id']}"))
    _tell(told, as_json=as_json)


@approvals.command()
@_id
@click.option("--text", help="In your words.")
@click.option("--choice", "choices", metavar="N", type=int, multiple=True, help="One of its choices, from 1.")
@click.option("--again", metavar="NOTE", help="None of its files: have them made anew, with this note.")
@click.option("--from", "file", type=click.File(encoding="utf-8"), help="Any JSON; - reads it here.")
@_digest
@_yes
@client.one_json_option
@client.url_option
@client.token_option
@click.pass_obj
def answer(
    config: Path | None,
    approval: str,
    text: str | None,
    choices: Sequence[int],
    again: str | None,
    file: Any,
    digest: str,
    yes: bool,
    as_json: bool,
    url: str | None,
    token_env: str,
) -> None:
    """Answer what the agent asks by ID; or, where its terms allow that, answer in the tool's place.

    The model is given your answer, not your name, and nothing runs. To a question with several choices
    --choice may be repeated; among files it takes one. What does not fit the question is refused, and it
    stays open.
    """
    if sum((text is not None, bool(choices), again is not None, file is not None)) != 1:
        raise click.UsageError("say one of --text, --choice, --again and --from")
    sealed = _sealed(digest, yes=yes)
    with client.service_at(config, url, token_env) as service:
        told = _shown(service, approval)
        _still(told, sealed)
        given = {"again": True, "note": again} if again is not None else _given(told, text, choices, file)
        if not yes:
            _print(told)
            click.echo("\n".join(["your answer", *cards.shown({"answer": given}, _width())]))
            _confirm("Send this?")
        body = {"verdict": "answer", "answer": given, "digest": told["digest"]}
        told = _answered(service, approval, body)
    _tell(told, as_json=as_json)


@approvals.command()
@_id
@click.option("--question", required=True, help="What you need to know; at most 3000 characters.")
@client.one_json_option
@client.url_option
@client.token_option
@click.pass_obj
def ask(
    config: Path | None, approval: str, question: str, as_json: bool, url: str | None, token_env: str
) -> None:
    """Ask back: put a question about ID to whoever asked for the run.

    They are told in Slack, where they are there; `show` has their answer. The clock does not stop for it.
    """
    with client.service_at(config, url, token_env) as service:
        path = f"/v1/approvals/{client.part(approval)}/questions"
        told = client.posted(service, path, {"question": question}, heard=_REFUSED)
    asked, until = cards.who(told["requester"]), cards.instant(told["expires_at"])
    said = f"{told['id']}: {asked} is asked; the request stays open until {until}"
    click.echo(json.dumps(told) if as_json else client.plain(said))


@approvals.command()
@_id
@click.argument("number", metavar="NUMBER", type=click.IntRange(1, 99))
@click.option("--text", required=True, help="Your answer; at most 3000 characters.")
@client.one_json_option
@client.url_option
@client.token_option
@click.pass_obj
def reply(
    config: Path | None,
    approval: str,
    number: int,
    text: str,
    as_json: bool,
    url: str | None,
    token_env: str,
) -> None:
    """Answer question NUMBER about ID, which somebody who decides has asked you.

    Only whoever asked for the run can: the token needs the scope `trigger` and must be theirs.
    """
    with client.service_at(config, url, token_env) as service:
        path = f"/v1/approvals/{client.part(approval)}/questions/{number}/answer"
        answer = client.ask(service, "POST", path, heard=_REFUSED, json={"answer": text})
        told = client.sent(answer, "number", "answer", heard=_REFUSED)
    click.echo(json.dumps(told) if as_json else client.plain(f"{approval}: question {number} is answered"))


@approvals.command()
@click.option("--once", is_flag=True, help="Say what waits now, and end.")
@click.option(
    "--every", type=click.FloatRange(1, 3600), default=2.0, show_default=True, help="Seconds between looks."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per change, for programs.")
@client.url_option
@client.token_option
@click.pass_obj
def watch(
    config: Path | None, once: bool, every: float, as_json: bool, url: str | None, token_env: str
) -> None:
    """What waits for an answer, as it comes and goes, until you press Ctrl-C.

    With --json each line is {"change": "asked" | "changed" | "closed", "approval": {…}}; what waits at the
    start is told as asked.
    """
    from orchestrator.cli import questions

    with client.service_at(config, url, token_env) as service:
        questions.follow(service, every=every, once=once, as_json=as_json)


# ------------------------------------------------------------------ what the commands share


def _shown(service: "httpx.Client", approval: str) -> dict[str, Any]:
    return client.one(service, f"/v1/approvals/{client.part(approval)}", "id", "digest", "arguments")


def _answered(service: "httpx.Client", approval: str, body: Mapping[str, Any]) -> dict[str, Any]:
    said = {k: v for k, v in body.items() if v != ""}
    return client.posted(service, f"/v1/approvals/{client.part(approval)}/decision", said, heard=_REFUSED)


def _sealed(digest: str, *, yes: bool) -> str:
    """The digest a program names, or empty where a person can be asked. Raises `UsageError`."""
    if yes and not digest:
        raise click.UsageError("--yes needs --digest: say what is meant, as `approvals show --json` gave it")
    if not yes and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("there is nobody to ask without a terminal: use --yes and --digest")
    return _checked(digest)


def _checked(digest: str) -> str:
    if digest and not (_SHORTEST <= len(digest) <= 64 and set(digest) <= set("0123456789abcdef")):
        raise click.UsageError("--digest must be 16 to 64 hex digits, in lower case")
    return digest


def _still(told: Mapping[str, Any], sealed: str) -> None:
    """Whether it is open and what was seen before. Raises `ClickException`."""
    if told["status"] != "pending":
        raise click.ClickException(client.plain(f"{told['id']} {cards.ending(told)}"))
    if not told["digest"].startswith(sealed):
        raise click.ClickException("the question has changed since it was shown: nothing was done")


def _approved_by_hand(told: Mapping[str, Any]) -> bool:
    """Show one of several, and ask."""
    _print(told)
    if not cards.whole(told):
        click.echo("it cannot be shown whole here: it is left out", err=True)
        return False
    return click.confirm("Approve?")


def _confirm(question: str) -> None:
    if not click.confirm(question):
        raise click.ClickException("nothing was done")


def _changed(now: Mapping[str, Any], changes: Sequence[str], file: Any) -> dict[str, Any]:
    """The arguments as they are wished. Raises `UsageError`."""
    if changes:
        return {**now, **dict(_change(now, change) for change in changes)}
    try:
        text = file.read() if file else click.edit(cards.editable(now), extension=".json")
        wished = client.typed(text) if text is not None else now
    except ValueError as e:
        raise click.UsageError(f"the arguments are no JSON: {e}") from e
    if not isinstance(wished, dict):
        raise click.UsageError("the arguments must be a JSON object")
    if json.dumps(wished, sort_keys=True) == json.dumps(now, sort_keys=True):  # to Python 1 is True
        raise click.ClickException("nothing was changed")
    return wished


def _change(now: Mapping[str, Any], change: str) -> tuple[str, Any]:
    key, equals, text = change.partition("=")
    if not (key and equals):
        raise click.UsageError(f"--set takes KEY=VALUE, not {client.plain(change)!r}")
    if isinstance(now.get(key), str):
        return key, text
    try:
        return key, client.typed(text)
    except ValueError:
        return key, text


def _given(told: Mapping[str, Any], text: str | None, choices: Sequence[int], file: Any) -> Any:
    """The answer that is meant. Raises `UsageError`."""
    if text is not None:
        return text
    if file is not None:
        try:
            return client.typed(file.read())
        except ValueError as e:
            raise click.UsageError(f"the answer is no JSON: {e}") from e
    files = told["arguments"].get("files") if told["tool"] == cards.CHOOSE_MEDIA else None
    offered = files or told["arguments"].get("choices")
    if not isinstance(offered, list):
        raise click.UsageError("this question has no choices: use --text or --from")
    if astray := [n for n in choices if not 1 <= n <= len(offered)]:
        raise click.UsageError(f"--choice must be from 1 to {len(offered)}, not {astray[0]}")
    picked = [offered[n - 1] for n in dict.fromkeys(choices)]
    if files:
        if len(picked) > 1:
            raise click.UsageError("--choice takes one of the files")
        return {"file": picked[0], "number": choices[0]}
    return picked if told["arguments"].get("kind") == "multi_choice" else picked[0]


def _width() -> int:
    return shutil.get_terminal_size().columns


def _print(told: Mapping[str, Any], *, as_json: bool = False) -> None:
    if as_json:
        click.echo(json.dumps(told))
        return
    for line in cards.card(told, now=datetime.now(UTC), width=_width()):
        click.echo(client.plain(line))


def _tell(told: Mapping[str, Any], *, as_json: bool) -> None:
    click.echo(json.dumps(told) if as_json else client.plain(f"{told['id']} {cards.ending(told)}"))
