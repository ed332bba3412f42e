"""What is asked back about a question, and what is answered.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from orchestrator.domain.consent import Inquiry
from orchestrator.domain.inquiries import CHARS
from orchestrator.web.schemas.ground import ActorOut, person

Said = Annotated[str, Meta(min_length=1, max_length=CHARS)]


class NewInquiry(Struct, kw_only=True, forbid_unknown_fields=True):
    """What whoever asked for the run is asked."""

    question: Said


class InquiryAnswer(Struct, kw_only=True, forbid_unknown_fields=True):
    """What they say to that."""

    answer: Said


class InquiryOut(Struct, kw_only=True):
    """What was asked of whoever asked for the run; `answer` is None until they have said something."""

    number: int
    by: ActorOut
    at: datetime
    question: str
    answer: str | None
    answered_by: ActorOut | None
    answered_at: datetime | None


def inquiry_out(number: int, inquiry: Inquiry) -> InquiryOut:
    by = inquiry.answered_by
    return InquiryOut(
        number=number,
        by=person(inquiry.by),
        at=inquiry.at,
        question=inquiry.text,
        answer=inquiry.answer if by else None,
        answered_by=person(by) if by else None,
        answered_at=inquiry.answered_at,
    )
