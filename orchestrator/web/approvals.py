"""Approvals: the same gate as Slack's, for callers of the API.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Final, TypedDict

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from sqlalchemy.orm import Session

from orchestrator.domain.consent import Actor, ApprovalStatus, Terms, Verdict
from orchestrator.domain.decision import Refusal
from orchestrator.domain.legible import legible
from orchestrator.domain.verdicts import NO_REASON
from orchestrator.engine.answers import Decided, Person, Wish
from orchestrator.errors import ConflictError, ForbiddenError, InvalidError
from orchestrator.store import questions, views
from orchestrator.store.run_rows import terms_value
from orchestrator.web.doors import Doors, Token
from orchestrator.web.paging import OWN, Cursor, Limit, Pages, own_id, shown_each
from orchestrator.web.problems import problems
from orchestrator.web.runs import READ
from orchestrator.web.schemas.approvals import ApprovalOut, ApprovalPage, approval_out
from orchestrator.web.schemas.decisions import Answer, DecisionList, DecisionOut, Decisions

DECIDE: Final = {"scope": "decide", "owner": "api"}


@get("/approvals", opt=READ, summary="List approvals", responses=problems(400))
async def list_approvals(
    doors: NamedDependency[Doors],
    pages: NamedDependency[Pages],
    status: Annotated[ApprovalStatus | None, QueryParameter()] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> ApprovalPage:
    after = pages.begin(cursor)
    page = await doors.database.read(views.approvals, limit=limit, after=after, status=status)
    return ApprovalPage(
        items=shown_each(partial(approval_out, hidden=doors.hidden), page.rows), next=pages.next(page.next)
    )


@get("/approvals/{approval_id:str}", opt=READ, summary="One approval", responses=problems(400, 404))
async def show_approval(approval_id: FromPath[str], doors: NamedDependency[Doors]) -> ApprovalOut:
    return await _approval(doors, own_id(approval_id, "approval"))


async def _approval(doors: Doors, approval_id: str) -> ApprovalOut:
    return approval_out(await doors.database.read(views.approval, approval_id), doors.hidden)


@post(
    "/approvals/{approval_id:str}/decision",
    status_code=200,
    opt=DECIDE,
    summary="Approve, reject, edit or answer",
    responses=problems(400, 404, 409, 413, 415),
)
async def decide(
    approval_id: FromPath[str],
    data: JSONBody[Answer],
    doors: NamedDependency[Doors],
    caller: NamedDependency[Token],
) -> ApprovalOut:
    """The first valid decision stands; a later one is told who was first, and when.

    `refine` sends an agent's plan back; the reason says what to change. `edit` proposes other arguments: the
    answer is the question as it is asked now, under an id of its own. Where the tool works out first what it
    would do, it is the old question, `withdrawn`; the new one soon stands among the run's approvals. `answer`
    gives the model a value in the tool's place, which then does not run; what `ask_human` asks takes nothing
    else, or a rejection.
    """
    _fits(data)
    own = own_id(approval_id, "approval")
    row = await doors.database.read(views.approval, own)
    person = _Person(
        by=caller.actor,
        entitled_as=caller.entitled_as,
        digest=data.digest or None,
        reason=data.reason,
        standing=await doors.stands_for(caller.entitled_as, [(own, terms_value(row))]),
    )
    if data.arguments is not None:
        answer = await doors.intake.edit(own, data.arguments, **person)
    else:
        answer = await doors.intake.decide(
            own,
            approve=data.verdict == "approve",
            refine=data.verdict == "refine",
            answer=data.answer,
            stop=data.stop,
            **person,
        )
    _recorded(answer)
    return await _approval(doors, answer.approval.id)


@post(
    "/approvals/decisions",
    status_code=200,
    opt=DECIDE,
    summary="Approve or reject several",
    responses=problems(400, 413, 415),
)
async def decide_many(
    data: JSONBody[Decisions], doors: NamedDependency[Doors], caller: NamedDependency[Token]
) -> DecisionList:
    """Up to 50, each passing the gate as if it came alone, under its own digest; the answer has each one.

    The status of the answer is 200 whatever came of them: `recorded` and, of each, `status` tell. All of them
    are written in one transaction: after an error of the service none is recorded.
    """
    ids = [one.approval for one in data.decisions]
    if len(set(ids)) < len(ids):
        raise InvalidError("an approval is named twice", [("decisions", "must name each approval once")])
    asked = await doors.database.read(_terms, ids)
    standing = await doors.stands_for(caller.entitled_as, asked) if asked else ()
    now = doors.clock()
    answers = await doors.intake.decide_each(
        [
            Wish(
                one.approval,
                Person(caller.actor, caller.entitled_as, standing, one.digest),
                Verdict(one.verdict == "approve", caller.actor, now, one.reason),
            )
            for one in data.decisions
        ]
    )
    shown = await doors.database.read(_shown, [a.approval.id for a in answers if a is not None])
    rows = {row["id"]: approval_out(row, doors.hidden) for row in shown}
    told = [_outcome(own, answer, rows) for own, answer in zip(ids, answers, strict=True)]
    return DecisionList(recorded=sum(1 for one in told if one.recorded), decisions=told)


def _terms(s: Session, ids: list[str]) -> list[tuple[str, Terms]]:
    """Of those there are."""
    found = [questions.load_approval(s, own) for own in ids]
    return [(known[0].id, known[0].terms) for known in found if known is not None]


def _shown(s: Session, ids: list[str]) -> list[views.Row]:
    return [views.approval(s, own) for own in ids]


def _outcome(own: str, answer: Decided | None, rows: Mapping[str, ApprovalOut]) -> DecisionOut:
    if answer is None:
        detail = f"there is no approval {own}" if OWN.fullmatch(own) else "there is no approval of that id"
        return DecisionOut(approval_id=own, recorded=False, status=404, detail=detail, approval=None)
    refused = answer.refused
    status = 200 if refused is None else 403 if refused is Refusal.NOT_ENTITLED else 409
    return DecisionOut(
        approval_id=own,
        recorded=refused is None,
        status=status,
        detail="" if refused is None else answer.note or str(refused),
        approval=rows[answer.approval.id],
    )


class _Person(TypedDict):
    by: Actor
    entitled_as: str
    digest: str | None
    reason: str
    standing: tuple[str, ...]


def _recorded(answer: Decided) -> None:
    if answer.refused is Refusal.NOT_ENTITLED:
        raise ForbiddenError(answer.note)
    if answer.refused is not None:
        lacks = (("reason", "is required for a rejection here"),) if answer.note == NO_REASON else ()
        raise ConflictError(answer.note or str(answer.refused), lacks)


def _fits(data: Answer) -> None:
    if data.verdict == "refine" and not legible(data.reason):
        raise InvalidError("refine needs a reason", [("reason", "says what to change in the plan")])
    if (data.verdict == "edit") != (data.arguments is not None):
        raise InvalidError("arguments go with edit", [("arguments", "an object, with the verdict edit only")])
    if (data.verdict == "answer") != (data.answer is not None):
        raise InvalidError("answer goes with answer", [("answer", "any JSON, with the verdict answer only")])
    if data.stop and data.verdict != "reject":
        raise InvalidError("stop goes with reject", [("stop", "with the verdict reject only")])
