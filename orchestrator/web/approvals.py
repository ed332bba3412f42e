"""Approvals: the same gate as Slack's, for callers of the API.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from typing import Annotated, Final, TypedDict

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from orchestrator.domain.consent import Actor, ApprovalStatus, Terms
from orchestrator.domain.decision import Refusal
from orchestrator.errors import ConflictError, ForbiddenError, InvalidError
from orchestrator.store import views
from orchestrator.web.doors import Doors, Token
from orchestrator.web.paging import Cursor, Limit, from_cursor, own_id, to_cursor
from orchestrator.web.problems import problems
from orchestrator.web.runs import READ
from orchestrator.web.schemas import Answer, ApprovalOut, ApprovalPage, approval_out

DECIDE: Final = {"scope": "decide", "owner": "api"}


@get("/approvals", opt=READ, summary="List approvals", responses=problems(400))
async def list_approvals(
    doors: NamedDependency[Doors],
    status: Annotated[ApprovalStatus | None, QueryParameter()] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> ApprovalPage:
    after = from_cursor(cursor)
    page = await doors.database.read(views.approvals, limit=limit, after=after, status=status)
    return ApprovalPage(items=[approval_out(r, doors.hidden) for r in page.rows], next=to_cursor(page.next))


@get("/approvals/{approval_id:str}", opt=READ, summary="One approval", responses=problems(404))
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
    answer is the question as it is asked now, under an id of its own. `answer` gives the model a value in the
    tool's place, which then does not run; what `ask_human` asks takes nothing else, or a rejection.
    """
    _fits(data)
    own = own_id(approval_id, "approval")
    row = await doors.database.read(views.approval, own)
    person = _Person(
        by=caller.actor,
        entitled_as=caller.entitled_as,
        digest=data.digest or None,
        reason=data.reason,
        standing=await doors.stands_for(caller.entitled_as, [(own, msgspec.convert(row["terms"], Terms))]),
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
    if answer.refused is Refusal.NOT_ENTITLED:
        raise ForbiddenError(answer.note)
    if answer.refused is not None:
        raise ConflictError(answer.note or str(answer.refused))
    return await _approval(doors, answer.approval.id)


class _Person(TypedDict):
    by: Actor
    entitled_as: str
    digest: str | None
    reason: str
    standing: tuple[str, ...]


def _fits(data: Answer) -> None:
    if data.verdict == "refine" and not data.reason:
        raise InvalidError("refine needs a reason", [("reason", "says what to change in the plan")])
    if (data.verdict == "edit") != (data.arguments is not None):
        raise InvalidError("arguments go with edit", [("arguments", "an object, with the verdict edit only")])
    if (data.verdict == "answer") != (data.answer is not None):
        raise InvalidError("answer goes with answer", [("answer", "any JSON, with the verdict answer only")])
    if data.stop and data.verdict != "reject":
        raise InvalidError("stop goes with reject", [("stop", "with the verdict reject only")])
