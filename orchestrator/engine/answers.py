"""What people answer, in one transaction each: by whichever door it comes, it is decided here.

Whom it is asked of and what it is about are read at this moment, not remembered from the card.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from orchestrator.domain import entitlement, hidden, human
from orchestrator.domain.asking import is_own
from orchestrator.domain.assessment import Assessment, Finding, Ruling
from orchestrator.domain.consent import Actor, Approval, Terms, Verdict
from orchestrator.domain.decision import Refusal
from orchestrator.domain.events import (
    ApprovalDecided,
    ApprovalEdited,
    CallDoubted,
    Event,
    QuestionAnswered,
    QuestionAsked,
)
from orchestrator.domain.exchange import FunctionCall
from orchestrator.domain.model import Policy, Run, ToolCall
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.values import Value, replace
from orchestrator.domain.verdicts import already
from orchestrator.engine import step
from orchestrator.engine.ports import ToolkitPort
from orchestrator.engine.seal import assess, sealed
from orchestrator.errors import InvalidError, NotFoundError
from orchestrator.store import audit_check, locking, questions, runs

_WHOLE: Final = "arguments"
"""How all of them are named."""


class Decided(Value):
    """What a decision came to. `approval` is the question as it stands now.

    `untold`: it was turned away too often to be written down once more.
    """

    approval: Approval
    tool: str
    note: str = ""
    refused: Refusal | None = None
    run: str = ""
    untold: bool = False


class Person(Value):
    """Who answers.

    Args:
        by: As the record names them.
        entitled_as: A Slack user id or `api:<token>`.
        standing: The groups they are in at this moment, as approvers name them.
        digest: At least 16 characters of the digest they were shown; None takes the current one, for a
            door that shows the question and takes the answer in one.
    """

    by: Actor
    entitled_as: str
    standing: tuple[str, ...] = ()
    digest: str | None = None


class DecisionContext(Value):
    """What an answer is held against.

    Args:
        toolkit: Where terms and arguments are looked up anew; without one the frozen terms count alone.
    """

    toolkit: ToolkitPort | None
    policy: Policy
    now: datetime


def decide(
    s: Session,
    approval_id: str,
    person: Person,
    verdict: Verdict,
    context: DecisionContext,
    *,
    together: bool = False,
) -> Decided:
    """A yes, a no, a plan sent back, or an answer instead of any of them.

    Args:
        together: It is one of several that are answered in one go.

    Raises:
        NotFoundError: There is no such approval.
        InvalidError: The answer is none to this question, which stays open.
    """

    def event(run: Run, call: ToolCall, approval: Approval) -> Event:
        if verdict.answer is not None and _counts(run, call, approval, person, context):
            human.check(call, verdict.answer)
        return ApprovalDecided(
            approval_id,
            approval.digest if person.digest is None else person.digest,
            verdict,
            person.entitled_as,
            person.standing,
            _current(run, call, context),
            together,
            _by_now(s, run, call, verdict, context) if approval.open else None,
        )

    return _apply(s, approval_id, event, context)


def decide_all(
    s: Session, asked: Sequence[tuple[str, str]], person: Person, verdict: Verdict, context: DecisionContext
) -> tuple[Decided, ...]:
    """One word about several questions: each is decided by itself, all in this transaction.

    One that is refused, because it has changed or was decided meanwhile, takes nothing from the others.

    Args:
        asked: The questions, each with the beginning of the digest that was shown.

    Raises:
        NotFoundError: One of them does not exist; then nothing is recorded.
    """
    _take_all(s, [approval_id for approval_id, _ in asked])
    return tuple(
        decide(s, approval_id, replace(person, digest=digest), verdict, context, together=True)
        for approval_id, digest in asked
    )


@dataclass(frozen=True, slots=True)
class Wish:
    """One of several decisions that have nothing to do with each other. Fields as for `decide`."""

    approval: str
    person: Person
    verdict: Verdict


def decide_each(s: Session, wishes: Sequence[Wish], context: DecisionContext) -> tuple[Decided | None, ...]:
    """Each for itself, as if it came alone, and all in this transaction; None for one there is not.

    Their runs are taken in one order, so that two such jobs never wait for each other.
    """
    there = _take_all(s, [w.approval for w in wishes])
    return tuple(
        decide(s, w.approval, w.person, w.verdict, context) if w.approval in there else None for w in wishes
    )


def _take_all(s: Session, approvals: Sequence[str]) -> set[str]:
    """Take the runs of those there are, before anything is written and in the order everybody takes several.

    What is drawn over many runs is written with each of them: who holds that must not wait for a run.
    """
    found = {own: known[2] for own in approvals if (known := questions.load_approval(s, own)) is not None}
    for run_id in sorted(set(found.values())):
        locking.run(s, run_id)
    return set(found)


def ask_back(s: Session, approval_id: str, person: Person, text: str, context: DecisionContext) -> Decided:
    """A question to whoever asked for the run.

    Raises:
        NotFoundError: There is no such approval.
    """

    def event(run: Run, call: ToolCall, approval: Approval) -> Event:
        by, current = person.by, _current(run, call, context)
        return QuestionAsked(approval_id, by, context.now, text, person.entitled_as, person.standing, current)

    return _apply(s, approval_id, event, context)


def answer_back(
    s: Session, approval_id: str, number: int, person: Person, text: str, context: DecisionContext
) -> Decided:
    """The answer to such a question. Raises as `ask_back`."""

    def event(run: Run, call: ToolCall, approval: Approval) -> Event:
        return QuestionAnswered(approval_id, number, person.by, context.now, text, person.entitled_as)

    return _apply(s, approval_id, event, context)


def edit(
    s: Session, approval_id: str, person: Person, arguments: JsonObject, reason: str, context: DecisionContext
) -> Decided:
    """Other arguments for the call in question. Of those kept from view, what is not given stays as it is.

    Raises:
        NotFoundError: There is no such approval.
        InvalidError: They do not fit the tool.
    """
    toolkit = context.toolkit
    if toolkit is None:
        raise InvalidError("arguments cannot be changed here", (("arguments", "no tools are loaded"),))

    def event(run: Run, call: ToolCall, approval: Approval) -> Event:
        current = _current(run, call, context)
        unseen = {*approval.terms.hidden, *(current.hidden if current else ())}
        wished = hidden.kept(arguments, call.arguments, unseen)
        wish = FunctionCall(call.call_id, call.tool, wished)
        found = toolkit.find(run.acting, wish)
        if found.ruling is Ruling.INVALID and _counts(run, call, approval, person, context):
            raise InvalidError("the arguments do not fit the tool", _misfits(found))
        fresh = sealed(found, run, run.turn.interaction_id or "", wish, about=approval)
        return ApprovalEdited(
            approval_id,
            approval.digest if person.digest is None else person.digest,
            person.by,
            context.now,
            fresh,
            reason,
            person.entitled_as,
            person.standing,
            current,
        )

    return _apply(s, approval_id, event, context)


def _misfits(found: Finding) -> tuple[tuple[str, str], ...]:
    """What does not fit, by the request's own names: `arguments.amount`."""
    problems = found.problems or ((_WHOLE, found.reason),)
    return tuple((path if path == _WHOLE else f"{_WHOLE}.{path}", text) for path, text in problems)


def _counts(run: Run, call: ToolCall, approval: Approval, person: Person, context: DecisionContext) -> bool:
    """Whether they may answer at all: only then is it their answer that does not fit."""
    current = _current(run, call, context)
    refused = entitlement.refusal(run, call, person.entitled_as, person.standing, current)
    return approval.open and not is_own(call) and refused is None


def terms_now(s: Session, approval_id: str, context: DecisionContext) -> Terms | None:
    """Under which terms the same would be asked at this moment; None where that is not known."""
    found = questions.load_approval(s, approval_id)
    return None if found is None else _current(runs.load(s, found[2]), found[1], context)


def _current(run: Run, call: ToolCall, context: DecisionContext) -> Terms | None:
    """Under which terms people would be asked now; a run's own questions keep those they began with."""
    if context.toolkit is None or is_own(call):
        return None
    return context.toolkit.terms(run.recipe, call.tool)


def _by_now(
    s: Session, run: Run, call: ToolCall, verdict: Verdict, context: DecisionContext
) -> Assessment | None:
    """The call as a yes would have it run at this moment, where that is not what is asked.

    Of a tool nobody here knows, and where the tables differ from the audit, the gate has the word.
    """
    approval = call.approval
    runs_by_it = verdict.approve and verdict.answer is None and not is_own(call)
    if context.toolkit is None or approval is None or not runs_by_it:
        return None
    wish = FunctionCall(call.call_id, call.tool, call.arguments)
    fresh = assess(
        context.toolkit, run, run.turn.interaction_id or "", wish, approval.preview, about=approval
    )
    same = fresh.sealed_like(approval) == approval.digest
    return None if same or fresh.ruling is Ruling.UNKNOWN or audit_check.doubts(s, call) else fresh


def _apply(
    s: Session, approval_id: str, event: Callable[[Run, ToolCall, Approval], Event], context: DecisionContext
) -> Decided:
    found = questions.load_approval(s, approval_id, locking.run_of_approval(s, approval_id))
    if found is None:
        raise NotFoundError(f"there is no approval {approval_id}")
    before, asked, run_id = found
    applied = step.apply(
        s, run_id, lambda run: event(run, asked, before), policy=context.policy, now=context.now
    )
    if doubts := _doubts(s, applied, before, asked):
        doubt = CallDoubted(asked.id, doubts)
        seen_to = step.apply(s, run_id, doubt, policy=context.policy, now=context.now)
        applied = replace(applied, run=seen_to.run)
    call = applied.run.turn.call(asked.id)
    if applied.refused is None and call is not None and call.approval is not None:
        # An edit has put another in its place.
        return Decided(call.approval, call.tool, applied.note, run=run_id)
    approval = (questions.load_approval(s, approval_id, applied.run) or found)[0]
    gone = applied.refused in (Refusal.NOT_FOUND, Refusal.RUN_ENDED) and not approval.open
    note = already(approval) if gone else applied.note
    return Decided(approval, asked.tool, note, applied.refused, run_id, applied.untold)


def _doubts(s: Session, applied: step.Applied, approval: Approval, asked: ToolCall) -> tuple[str, ...]:
    """Why an answer was turned away that nothing would explain if the rows were as we left them.

    A question keeps its digest, and a call waits for no question that is over, nor an open one for no call.
    """
    call = applied.run.turn.call(asked.id)
    if applied.refused is None or applied.run.closed:
        return ()
    if call is not None and call.approval is not None and call.approval.id != approval.id:
        return ()  # it was asked anew
    if call is None:
        return audit_check.gone(s, applied.run, asked.id) if approval.open else ()
    if applied.refused is Refusal.CHANGED:
        return audit_check.doubts(s, call)
    return audit_check.idle(s, applied.run.id, call)
