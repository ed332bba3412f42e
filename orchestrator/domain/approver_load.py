"""How much is asked of each of those who decide: people who are asked too much stop reading.

A wish that would be put only to people who have enough open questions already is denied, and the model is
told to wait. Where one of them has room it is put to all of them: whose turn it is nobody here can tell. A
user group or a machine's token counts as the one entry it is in the terms; its members are not looked up.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

from orchestrator.domain.asking import is_own
from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.model import CallStatus, Turn
from orchestrator.domain.terms import barring
from orchestrator.domain.values import replace

_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


def open_questions(turn: Turn, besides: str = "") -> int:
    """How many calls of a turn wait for people, or soon will; without the one of that id."""
    asked = (CallStatus.AWAITING_APPROVAL, CallStatus.PREVIEWING)
    return sum(1 for c in turn.calls if c.status in asked and not is_own(c) and c.id != besides)


def within(wish: Assessment, open_now: int, most: int) -> Assessment:
    """The wish, denied where people would have to be asked and are asked enough."""
    if wish.ruling is not Ruling.ASK or open_now < most:
        return wish
    reason = f"denied by policy: {open_now} requests of this run are open already; wait for their answers"
    return replace(wish, ruling=Ruling.DENY, reason=reason)


def put_to(wish: Assessment) -> tuple[str, ...]:
    """The entries of approvers a new question about that wish counts for; nobody where none is asked."""
    if wish.ruling is not Ruling.ASK or wish.terms is None:
        return ()
    return tuple(dict.fromkeys(wish.terms.steps[0].approvers))


def relieved(
    wish: Assessment, asked_for_it: Collection[str], most: int, besides: Mapping[str, int] = _NOTHING
) -> Assessment:
    """The wish, denied where everybody who could decide about it first has enough open questions already.

    Args:
        asked_for_it: Who did; under four eyes they could not decide.
        besides: What is asked of each in the same moment and not counted yet.
    """
    if wish.terms is None or not wish.asked:
        return wish
    never = barring(wish.terms, asked_for_it).never
    could = [entry for entry in put_to(wish) if entry not in never]
    open_now = [wish.asked.get(entry, 0) + besides.get(entry, 0) for entry in could]
    if not could or min(open_now) < most:
        return wish
    reason = (
        f"denied by policy: everybody who could decide about this has {min(open_now)} or more open requests"
        " already; wait for their answers"
    )
    return replace(wish, ruling=Ruling.DENY, reason=reason)
