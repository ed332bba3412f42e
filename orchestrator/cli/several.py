"""Several approvals decided by one command, each by itself and under its own digest."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import rich_click as click

from orchestrator.cli import cards, client, consent, consoles

if TYPE_CHECKING:
    import httpx

MOST: Final = 50
"""That one request to the service decides about."""


def paired(ids: Sequence[str], digests: Sequence[str], *, needed: bool) -> list[str]:
    """A digest for each, empty where none is given. Raises `UsageError`."""
    if len(ids) > MOST:
        raise click.UsageError(f"at most {MOST} at once")
    if len(set(ids)) < len(ids):
        raise click.UsageError("an ID is named twice")
    if (digests or needed) and len(digests) != len(ids):
        raise click.UsageError(f"{len(ids)} IDs take {len(ids)} times --digest, in their order")
    return list(digests) or [""] * len(ids)


def only(digests: Sequence[str]) -> str:
    """The digest of a single one. Raises `UsageError`."""
    if len(digests) > 1:
        raise click.UsageError("one ID takes one --digest")
    return digests[0] if digests else ""


def seen(
    service: "httpx.Client",
    ids: Sequence[str],
    sealed: Sequence[str],
    *,
    still: Callable[[Mapping[str, Any], str], None] | None = None,
) -> list[dict[str, Any]]:
    """Each as it stands, with the digest that was seen where one is named.

    Args:
        still: Raises where one is not open or not what was seen; by default that is left to the service,
            which says so of each by itself.
    """
    told = []
    for approval, digest in zip(ids, sealed, strict=True):
        one = consent.shown(service, approval)
        if still is not None:
            still(one, digest)
        elif digest:
            one["digest"] = digest
        told.append(one)
    return told


def decide(
    service: "httpx.Client",
    wanted: Sequence[Mapping[str, Any]],
    verdict: str,
    reason: str,
    *,
    as_json: bool,
) -> None:
    """Send them off together and tell what became of each.

    Raises:
        ClickException: Not all of them were recorded.
    """
    if not wanted:
        raise click.ClickException("nothing was done")
    decisions = [
        {"approval": told["id"], "digest": told["digest"], "verdict": verdict, "reason": reason}
        for told in wanted
    ]
    said = client.ask(service, "POST", "/v1/approvals/decisions", json={"decisions": decisions})
    answer = client.sent(said, "recorded", "decisions")
    consoles.show_one(answer, map(_line, answer["decisions"]), as_json=as_json)
    if answer["recorded"] < len(wanted):
        raise click.ClickException(f"{answer['recorded']} of {len(wanted)} recorded")


def _line(one: Mapping[str, Any]) -> str:
    if one["recorded"]:
        return f"{one['approval_id']} {cards.ending(one['approval'])}"
    return f"{one['approval_id']} not recorded: {one['detail']}"
