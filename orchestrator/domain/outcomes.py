"""What became of a decision, said under the message that asked for it: to redraw that notifies nobody."""

from typing import Final

from orchestrator.domain.asking import is_own
from orchestrator.domain.consent import ApprovalStatus
from orchestrator.domain.effects import Effect, EffectKind, notice_subject
from orchestrator.domain.model import OutcomeKind, ToolCall

OUTCOME: Final = "outcome"
"""The notice of what came of it; those before are in `deadlines`."""
_TOLD: Final = frozenset(
    {OutcomeKind.SUCCEEDED, OutcomeKind.FAILED, OutcomeKind.REJECTED, OutcomeKind.EXPIRED, OutcomeKind.DENIED}
)


def _is_news(call: ToolCall) -> bool:
    """Whether a person decided about a tool's call, and it has run or never will."""
    approval, outcome = call.approval, call.outcome
    if approval is None or approval.verdict is None or outcome is None or is_own(call):
        return False
    withdrawn = approval.status is ApprovalStatus.WITHDRAWN
    return not withdrawn and not approval.answered and outcome.kind in _TOLD


def tell(call: ToolCall) -> tuple[Effect, ...]:
    """To be said at once, where that is news."""
    if call.approval is None or call.settled_at is None or not _is_news(call):
        return ()
    subject = notice_subject(call.approval.id, OUTCOME)
    return (Effect(EffectKind.NOTIFY_APPROVAL, subject, call.settled_at),)
