"""A person's word about one question, or about several; and what came of it.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from orchestrator.web.schemas.approvals import ApprovalOut
from orchestrator.web.schemas.orders import Reason

Digest = Annotated[
    str, Meta(pattern="^[0-9a-f]{16,64}$", description="At least the first 16 hex digits of what was shown.")
]


class Answer(Struct, kw_only=True, forbid_unknown_fields=True):
    """A person's word about a question; `arguments` go with `edit` alone, `answer` with `answer`."""

    verdict: Literal["approve", "reject", "refine", "edit", "answer"]
    arguments: dict[str, Any] | None = None
    answer: Annotated[
        Any,
        Meta(
            description="With `answer`: a JSON value, given to the model in the tool's place, or the answer"
            " to the agent's own question."
        ),
    ] = None
    stop: Annotated[bool, Meta(description="With `reject`: the whole run ends.")] = False
    reason: Reason = ""
    digest: Annotated[
        str,
        Meta(
            pattern="^[0-9a-f]{16,64}$",
            description="At least the first 16 hex digits of the digest that was shown; "
            "the answer is refused if the question has changed since.",
        ),
    ] = ""


class OneOfMany(Struct, kw_only=True, forbid_unknown_fields=True):
    """A yes or a no to one question among several, and what was seen of it."""

    approval: Annotated[str, Meta(max_length=64)]
    digest: Digest
    verdict: Literal["approve", "reject"]
    reason: Reason = ""


class Decisions(Struct, kw_only=True, forbid_unknown_fields=True):
    """Several decisions, each about another approval."""

    decisions: Annotated[list[OneOfMany], Meta(min_length=1, max_length=50)]


class DecisionOut(Struct, kw_only=True):
    """What one of several decisions came to.

    `status` is the HTTP status it would have had alone: 200, 403 (not yours to decide), 404, or 409 (decided
    by somebody else, changed, over). `detail` says why it was not recorded; `approval` is the question as it
    stands.
    """

    approval_id: str
    recorded: bool
    status: int
    detail: str
    approval: ApprovalOut | None


class DecisionList(Struct, kw_only=True):
    """In the order of the request; `recorded` counts those that were."""

    recorded: int
    decisions: list[DecisionOut]
