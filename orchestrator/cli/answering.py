"""`approvals edit` and `answer`: other arguments for a call, or an answer in place of it.

A person sees what is sent before it is, a program names the digest of what it saw.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import rich_click as click

from orchestrator.cli import cards, client, consent, consoles


@click.command()
@consent.id_argument
@click.option("--set", "changes", metavar="KEY=VALUE", multiple=True, help="One argument; may be repeated.")
@click.option(
    "--arguments", type=click.File(encoding="utf-8"), help="All of them, as a JSON object; - reads them here."
)
@consent.digest_option
@consent.reason_option
@consent.yes_option
@client.one_json_option
@client.over_the_api
def edit(
    reach: client.Reach,
    approval: str,
    changes: Sequence[str],
    arguments: Any,
    digest: str,
    reason: str,
    yes: bool,
    as_json: bool,
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
    sealed = consent.sealed(digest, yes=yes)
    with reach() as service:
        told = consent.shown(service, approval)
        consent.still(told, sealed)
        if told["edits"] == "no":
            raise click.ClickException(f"the arguments of {told['tool']} may not be changed here")
        changed = _changed(told["arguments"], changes, arguments)
        if not yes:
            _confirmed(told, "as you would have it", changed)
        body = {"verdict": "edit", "arguments": changed, "digest": told["digest"], "reason": reason}
        told = consent.answered(service, approval, body)
    if not (as_json or told["id"] == approval):
        click.echo(consoles.plain(f"{approval} is replaced by {told['id']}"))
    consent.tell(told, as_json=as_json)


@click.command()
@consent.id_argument
@click.option("--text", help="In your words.")
@click.option("--choice", "choices", metavar="N", type=int, multiple=True, help="One of its choices, from 1.")
@click.option("--again", metavar="NOTE", help="None of its files: have them made anew, with this note.")
@click.option("--from", "file", type=click.File(encoding="utf-8"), help="Any JSON; - reads it here.")
@consent.digest_option
@consent.yes_option
@client.one_json_option
@client.over_the_api
def answer(
    reach: client.Reach,
    approval: str,
    text: str | None,
    choices: Sequence[int],
    again: str | None,
    file: Any,
    digest: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Answer what the agent asks by ID; or, where its terms allow that, answer in the tool's place.

    The model is given your answer, not your name, and nothing runs. To a question with several choices
    --choice may be repeated; among files it takes one. What does not fit the question is refused, and it
    stays open.
    """
    if sum((text is not None, bool(choices), again is not None, file is not None)) != 1:
        raise click.UsageError("say one of --text, --choice, --again and --from")
    sealed = consent.sealed(digest, yes=yes)
    with reach() as service:
        told = consent.shown(service, approval)
        consent.still(told, sealed)
        given = {"again": True, "note": again} if again is not None else _given(told, text, choices, file)
        if not yes:
            _confirmed(told, "your answer", {"answer": given})
        body = {"verdict": "answer", "answer": given, "digest": told["digest"]}
        told = consent.answered(service, approval, body)
    consent.tell(told, as_json=as_json)


def _confirmed(told: Mapping[str, Any], label: str, wished: Mapping[str, Any]) -> None:
    """Show the approval and what would be sent, and go on only with a yes. Raises `ClickException`."""
    consent.show(told)
    click.echo("\n".join([label, *cards.shown(wished, consent.width())]))
    consent.confirm("Send this?")


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
        raise click.UsageError(f"--set takes KEY=VALUE, not {consoles.plain(change)!r}")
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
