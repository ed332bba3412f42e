"""`approvals approve`, `reject` and `refine`: a yes, a no, and a plan sent back.

Each is final, so a person is shown the card and asked. Nothing is approved unseen: a program names the digest
of what it saw; for a no it need not.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import rich_click as click

from orchestrator.cli import cards, client, consent, several

if TYPE_CHECKING:
    import httpx


@click.command()
@client.ids_argument
@consent.digests_option
@consent.reason_option
@consent.yes_option
@client.one_json_option
@client.over_the_api
def approve(
    reach: client.Reach, ids: tuple[str, ...], digests: tuple[str, ...], reason: str, yes: bool, as_json: bool
) -> None:
    """Let ID happen: shows it, and asks you; of several, about each.

    A program says what it saw instead: `--yes --digest HEX`, as `show --json` gave it, one for each ID and in
    their order. If a question has changed since, it is not approved. Several are decided each by itself; with
    --json the answer has what became of each.
    """
    if len(ids) > 1:
        sealed_each = [consent.sealed(d, yes=yes) for d in several.paired(ids, digests, needed=yes)]
        with reach() as service:
            wanted = several.seen(service, ids, sealed_each, still=None if yes else consent.still)
            if not yes:
                wanted = [told for told in wanted if _said_by_hand(told, "Approve?", unseen=False)]
            several.decide(service, wanted, "approve", reason, as_json=as_json)
        return
    [approval], sealed = ids, consent.sealed(several.only(digests), yes=yes)
    with reach() as service:
        if not yes:
            sealed = _seen_by_hand(service, approval, sealed, "Approve?", unseen=False)
        told = consent.answered(service, approval, {"verdict": "approve", "digest": sealed, "reason": reason})
    consent.tell(told, as_json=as_json)


@click.command()
@client.ids_argument
@consent.digests_option
@consent.reason_option
@click.option("--stop", is_flag=True, help="And stop the whole run; with one ID.")
@consent.no_option
@client.one_json_option
@client.over_the_api
def reject(
    reach: client.Reach,
    ids: tuple[str, ...],
    digests: tuple[str, ...],
    reason: str,
    stop: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Do not let ID happen: shows it, and asks you; of several, about each.

    That is final; the model is told so, with your reason. A program says `--yes`, and may name what it saw by
    `--digest` as with `approve`. Several are decided each by itself.
    """
    if len(ids) > 1:
        if stop:
            raise click.UsageError("--stop goes with one ID")
        sealed = [consent.named(d, yes=yes) for d in several.paired(ids, digests, needed=False)]
        with reach() as service:
            wanted = several.seen(service, ids, sealed, still=None if yes else consent.still)
            if not yes:
                wanted = [told for told in wanted if _said_by_hand(told, "Reject?")]
            several.decide(service, wanted, "reject", reason, as_json=as_json)
        return
    [approval], digest = ids, consent.named(several.only(digests), yes=yes)
    body: dict[str, Any] = {"verdict": "reject", "reason": reason, **({"stop": True} if stop else {})}
    question = "Reject it and stop the run?" if stop else "Reject?"
    with reach() as service:
        if not yes:
            digest = _seen_by_hand(service, approval, digest, question)
        told = consent.answered(service, approval, body | {"digest": digest})
    consent.tell(told, as_json=as_json)


@click.command()
@consent.id_argument
@consent.digest_option
@click.option("--reason", required=True, help="What the agent should change in its plan.")
@consent.no_option
@client.one_json_option
@client.over_the_api
def refine(reach: client.Reach, approval: str, digest: str, reason: str, yes: bool, as_json: bool) -> None:
    """Send an agent's plan back: shows it, and asks you; it makes another one and asks again.

    A program says `--yes`, as with `reject`.
    """
    sealed = consent.named(digest, yes=yes)
    with reach() as service:
        if not yes:
            sealed = _seen_by_hand(service, approval, sealed, "Send back?")
        body = {"verdict": "refine", "digest": sealed, "reason": reason}
        told = consent.answered(service, approval, body)
    consent.tell(told, as_json=as_json)


def _seen_by_hand(
    service: "httpx.Client", approval: str, sealed: str, question: str, *, unseen: bool = True
) -> str:
    """The digest of what a person was shown, and said yes to. Raises `ClickException`.

    Args:
        unseen: That may be said too of what cannot be shown whole here.
    """
    told = consent.shown(service, approval)
    consent.still(told, sealed)
    consent.show(told)
    if not (unseen or cards.whole(told)):
        raise click.ClickException("it cannot be shown whole here: nothing was approved")
    consent.confirm(question)
    return str(told["digest"])


def _said_by_hand(told: Mapping[str, Any], question: str, *, unseen: bool = True) -> bool:
    """Show one of several, and ask."""
    consent.show(told)
    if not (unseen or cards.whole(told)):
        click.echo("it cannot be shown whole here: it is left out", err=True)
        return False
    return click.confirm(question)
