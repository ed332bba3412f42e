"""Which questions of a turn people are told of in one message: those of one thread, due in one minute.

Whoever of them is due first is told for all; that holds by the rows alone, so that a later try says the same.
"""

from datetime import datetime

from orchestrator.domain.asking import is_own
from orchestrator.domain.collecting import waits
from orchestrator.domain.consent import Approval
from orchestrator.domain.deadlines import FORGETTING, place_of, reminders
from orchestrator.domain.model import ToolCall, Turn

_Due = tuple[tuple[int, int], datetime] | str | None


def beside(turn: Turn, call: ToolCall, approval: Approval, what: str) -> tuple[tuple[ToolCall, str], ...]:
    """The other open questions it is told with, in the order of the calls, each with what it is told as.

    One in its own place comes last: by those before it, an earlier try that told of it is found.

    Args:
        approval: A question about `call`, open or not.
        what: The number of a reminder, or a notice of `deadlines`.
    """
    due = _due(approval, what)
    if due is None or not _under(turn, call, approval):
        return ()
    found = [
        (other, like)
        for other in turn.calls
        if (asked := other.approval) is not None and asked.id != approval.id and asked.open
        if _under(turn, other, asked) and (like := _alike(asked, due)) is not None
    ]
    return tuple(sorted(found, key=lambda told: told[0].id == call.id))


def _alike(approval: Approval, due: _Due) -> str | None:
    """By what that question is told the same in the same minute."""
    notices = (FORGETTING, *(str(number) for number, _ in reminders(approval)))
    return next((what for what in notices if _due(approval, what) == due), None)


def _due(approval: Approval, what: str) -> _Due:
    """The same for notices that go together; None for one that goes alone."""
    if what == FORGETTING:
        return FORGETTING
    at = {str(number): at for number, at in reminders(approval)}.get(what)
    place = place_of(approval, what)
    return None if at is None or place is None else (place, at.replace(second=0, microsecond=0))


def _under(turn: Turn, call: ToolCall, approval: Approval) -> bool:
    """Whether it stands in the thread of the message over the turn's questions."""
    over = turn.batch
    if over is None or not over.ts or is_own(call) or waits(approval):
        return False
    return bool(approval.ts) and over.channel == approval.channel == approval.terms.channel
