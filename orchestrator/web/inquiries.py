"""Asking back over the API: who decides asks whoever asked for the run, who answers.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from orchestrator.domain.decision import Refusal
from orchestrator.engine.intake import Decided
from orchestrator.errors import ConflictError, ForbiddenError, NotFoundError
from orchestrator.store import views
from orchestrator.store.run_rows import terms_value
from orchestrator.web.approvals import DECIDE
from orchestrator.web.doors import Doors, Token
from orchestrator.web.paging import own_id
from orchestrator.web.problems import problems
from orchestrator.web.runs import TRIGGER
from orchestrator.web.schemas.approvals import ApprovalOut, approval_out
from orchestrator.web.schemas.inquiries import InquiryAnswer, InquiryOut, NewInquiry, inquiry_out


@post(
    "/approvals/{approval_id:str}/questions",
    status_code=200,
    opt=DECIDE,
    summary="Ask back whoever asked for the run",
    responses=problems(400, 404, 409, 413, 415),
)
async def ask_back(
    approval_id: FromPath[str],
    data: JSONBody[NewInquiry],
    doors: NamedDependency[Doors],
    caller: NamedDependency[Token],
) -> ApprovalOut:
    """By who may decide, at most five times about one call. It stops no clock and settles nothing.

    Whoever asked for the run is told under the request in Slack and directly, as far as they are a person
    there. The same question twice, before it is answered, is asked once.
    """
    own = own_id(approval_id, "approval")
    row = await doors.database.read(views.approval, own)
    standing = await doors.stands_for(caller.entitled_as, [(own, terms_value(row))])
    answer = await doors.intake.ask_back(
        own, data.question, by=caller.actor, entitled_as=caller.entitled_as, standing=standing
    )
    _heeded(answer)
    return approval_out(await doors.database.read(views.approval, own), doors.hidden)


@post(
    "/approvals/{approval_id:str}/questions/{number:int}/answer",
    status_code=200,
    opt=TRIGGER,  # whoever may ask for runs may be asked about them
    summary="Answer what was asked back",
    responses=problems(400, 404, 409, 413, 415),
)
async def answer_back(
    approval_id: FromPath[str],
    number: FromPath[int],
    data: JSONBody[InquiryAnswer],
    doors: NamedDependency[Doors],
    caller: NamedDependency[Token],
) -> InquiryOut:
    """By whoever asked for the run alone: a token of that name, or that stands for the same Slack user.

    The first answer stands; a later one is told who gave it, and when.
    """
    own = own_id(approval_id, "approval")
    answer = await doors.intake.answer_back(
        own, number, data.answer, by=caller.actor, entitled_as=caller.entitled_as
    )
    _heeded(answer)
    return inquiry_out(number, answer.approval.questions[number - 1])


def _heeded(answer: Decided) -> None:
    if answer.refused is Refusal.NOT_ENTITLED:
        raise ForbiddenError(answer.note)
    if answer.refused is Refusal.NOT_FOUND and answer.approval.open:
        raise NotFoundError(answer.note)
    if answer.refused is not None:
        raise ConflictError(answer.note or str(answer.refused))
