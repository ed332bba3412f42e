"""The question of a workflow's approval step: people see facts and say yes or no; nothing else happens by it.

It is a tool like any other, so that policy, stages, sealing, cards and evidence are the same for it. What it
comes to says who said yes, when and in which stage, so that a later step can write that down.
"""

from typing import Any

from orchestrator.domain.assessment import Consent
from orchestrator.toolkit.declare import Tool, ToolContext, record_of, tool


def confirming(name: str) -> Tool:
    """The tool of one approval step."""

    @tool(name=name, approval="ask", idempotent=True)
    def confirm(facts: dict[str, Any], ctx: ToolContext) -> dict[str, Any]:
        """Let the workflow go on.

        Args:
            facts: What the decision is about.
        """
        return {"confirmed": True, "facts": facts, "by": [_told(consent) for consent in ctx.consents]}

    record = record_of(confirm)
    assert record is not None  # noqa: S101  declared right above
    return record


def _told(consent: Consent) -> dict[str, str]:
    by = consent.by
    return {
        "id": by.id,
        "name": by.name,
        "door": str(by.door),
        "stage": consent.stage,
        "at": consent.at.isoformat(),
    }
