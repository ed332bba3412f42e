"""Other arguments that people ask for: a proposal of theirs in the place of the one in question."""

from datetime import datetime

from orchestrator.domain import entitlement, human
from orchestrator.domain.asking import ask_instead, is_own, no_expiry
from orchestrator.domain.assessment import Ruling
from orchestrator.domain.consent import Approval, Edits, Terms, Verdict
from orchestrator.domain.decision import Decision, with_turn
from orchestrator.domain.events import ApprovalEdited
from orchestrator.domain.model import Policy, Run, ToolCall
from orchestrator.domain.plain import exact
from orchestrator.domain.terms import barring, can_be_met
from orchestrator.domain.values import replace
from orchestrator.domain.verdicts import answered, heard, worked_out_first


def edited(run: Run, event: ApprovalEdited, policy: Policy, now: datetime) -> Decision:
    """Other arguments are a new proposal: asked anew under its own digest, the old question is spent.

    Where an edit may approve, it is its author's yes, if they are asked in the first stage; else its author
    may not decide about it. Where the tool can tell what the call would do, that is worked out anew before
    anybody is asked: nobody has seen it yet, so the author's yes does not count, and they answer like
    everybody else.
    """

    def sayable(call: ToolCall, approval: Approval) -> str | None:
        return _not_editable(call, approval, event) or _nobody_left(run, approval, event)

    def then(run: Run, call: ToolCall, approval: Approval) -> Decision:
        return _proposed_anew(run, call, approval, event, now)

    return heard(run, event, now, sayable, then)


def _not_editable(call: ToolCall, approval: Approval, event: ApprovalEdited) -> str | None:
    fresh, allowed = event.assessment, may_edit(approval.terms, event.current)
    if is_own(call) or human.is_question(call) or not allowed:
        return "these arguments cannot be changed"
    if fresh.ruling not in (Ruling.ASK, Ruling.ALLOW):
        return fresh.reason or "the policy does not allow these arguments"
    same = approval.preview is not None and exact(fresh.arguments) == exact(call.arguments)
    if same or fresh.sealed_like(approval) == approval.digest:
        return "nothing was changed"
    return None


def may_edit(terms: Terms, current: Terms | None) -> bool:
    """Whether the arguments may be changed under the terms of the question and, where known, those of now."""
    return all(one.edits is not Edits.NO for one in (terms, current) if one is not None)


def _nobody_left(run: Run, approval: Approval, event: ApprovalEdited) -> str | None:
    """Settings are checked before it is known who asks for a run; under four eyes they are one fewer."""
    terms = _its_terms(approval, event)
    alone = event.by.id in terms.never and not can_be_met(barring(terms, run.asked_for_it))
    return "too few others are left to approve what you change" if alone else None


def _its_terms(old: Approval, event: ApprovalEdited) -> Terms:
    """What the changed call is asked under: without its author, where somebody else has to approve it."""
    terms = event.assessment.terms or old.terms
    if any(one.edits is Edits.OTHER for one in (terms, old.terms, event.current) if one is not None):
        return replace(terms, never=(*terms.never, event.by.id))
    return terms


def _proposed_anew(run: Run, call: ToolCall, old: Approval, event: ApprovalEdited, now: datetime) -> Decision:
    """In the old question's place, message and end of time included: an edit wins nobody more of it."""
    fresh, terms = event.assessment, _its_terms(old, event)
    call = replace(call, arguments=fresh.arguments, idempotent=fresh.idempotent)
    note = f"{event.by.name or event.by.id} changed the arguments"
    if fresh.previews:
        spent = replace(old, terms=replace(old.terms, never=terms.never))
        return worked_out_first(run, call, spent, note, now)
    asked, effects = ask_instead(call, run, terms, fresh.digest, now, more_time=False)
    approval = asked.approval
    assert approval is not None  # noqa: S101  just asked
    run = with_turn(run, run.turn.with_call(asked))
    first = Decision(run, effects, no_expiry(old), note=note)
    barred = entitlement.refusal(run, asked, event.entitled_as, event.standing, event.current)
    if barred is not None or event.by.id in terms.never:
        return first  # asked in a later stage, or kept out
    verdict = Verdict(True, event.by, event.at, event.reason)
    then = answered(run, asked, approval, verdict, now)
    if then.refused is not None:
        return first
    said = {e.key for e in then.effects} | set(then.drop)
    effects = (*(e for e in first.effects if e.key not in said), *then.effects)
    return replace(then, effects=effects, drop=(*first.drop, *then.drop), note=note)
