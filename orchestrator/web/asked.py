"""A question at the moment of a press in Slack: what it is now, and what a person is shown of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from orchestrator.domain import choosing
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import Actor, Approval, Terms
from orchestrator.domain.decision import Refusal
from orchestrator.domain.edits import Edited
from orchestrator.domain.entitlement import refusal
from orchestrator.domain.model import CallStatus, Run, ToolCall
from orchestrator.engine.intake import Decided
from orchestrator.errors import NotFoundError
from orchestrator.slack import forms
from orchestrator.slack.action import Click, Submission
from orchestrator.store import proposals, questions, runs
from orchestrator.web.clicks import GONE, words
from orchestrator.web.doors import ToolReport


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it stands at this moment."""

    run: Run
    call: ToolCall
    approval: Approval
    edited: Edited | None = None

    @property
    def may_be_made_anew(self) -> bool:
        """Whether it is a choice among files of which none need do."""
        return choosing.is_choosing(self.call) and choosing.again_allowed(self.call.arguments)

    def waits(self, now: datetime) -> bool:
        """Whether it can still be decided."""
        open_ = self.approval.open and self.call.status is CallStatus.AWAITING_APPROVAL
        return open_ and not self.run.closed and now < self.approval.expires_at

    def shown_as(self, taken: Click | Submission) -> bool:
        """Whether what was shown is what is asked now."""
        same = self.approval.revision == taken.revision
        return same and self.approval.digest[:16] == taken.digest_prefix

    def no(self, by: Actor, why: Refusal, note: str = "") -> str:
        """Why nothing of theirs counts here, in words for them."""
        return words(Decided(self.approval, self.call.tool, note, why), by=by, approve=None) or GONE

    def closed_to(
        self, by: Actor, standing: Collection[str], current: Terms | None, now: datetime
    ) -> str | None:
        """Why this person cannot answer now, in words; None if they can."""
        refused = refusal(self.run, self.call, by.id, standing, current)
        if refused is not None:
            return self.no(by, *refused)
        return None if self.waits(now) else self.no(by, Refusal.ALREADY_DECIDED)

    def card(self, tools: Sequence[ToolReport]) -> Card:
        """All that a card may tell of it."""
        report = _report(tools, self.call.tool)
        return Card(
            approval=self.approval,
            call=self.call,
            run_id=self.run.id,
            workflow=self.run.recipe.workflow,
            requester=self.run.requester,
            asked_before=self.run.recipe.asked_before,
            run_status=self.run.status,
            run_reason=self.run.reason,
            description=report.summary if report is not None else "",
            edited=self.edited,
        )

    def form(self, tools: Sequence[ToolReport]) -> forms.Form | None:
        """For other arguments, without those kept from view; None where Slack's forms cannot hold them."""
        report = _report(tools, self.call.tool)
        schema = report.schema.get("parameters") if report is not None else None
        known, hidden = schema if isinstance(schema, dict) else {}, self.approval.terms.hidden
        shown = {k: v for k, v in known.get("properties", {}).items() if k not in hidden}
        own = {k: v for k, v in self.call.arguments.items() if k not in hidden}
        return forms.form({**known, "properties": shown}, own)


def look_up(s: Session, approval_id: str) -> Asked:
    """Raises `NotFoundError`."""
    found = questions.load_approval(s, approval_id)
    if found is None:
        raise NotFoundError(f"there is no approval {approval_id}")
    approval, call, run_id = found
    edited = proposals.edited_since(s, run_id, call, approval)
    return Asked(runs.load(s, run_id), call, approval, edited)


def _report(tools: Sequence[ToolReport], name: str) -> ToolReport | None:
    return next((t for t in tools if t.name == name), None)
