"""What runs of ours are about in each game: whom the agent asks for what, and what it is told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from bench.loop import games
from orchestrator.domain.consent import Actor, Terms
from orchestrator.domain.exchange import FunctionCall
from orchestrator.domain.human import ASK_HUMAN
from orchestrator.domain.model import Recipe
from orchestrator.toolkit import Tool, tool
from orchestrator.toolkit.human import TOOL

ALICE: Final = Actor("U0ALICE", "alice", "slack")
DESK: Final = Actor("api:desk", "desk", "api")


@tool(approval="ask")
async def refund_order(order_id: str, amount_cents: int) -> dict[str, str]:
    """Refund an order.

    Args:
        order_id: The shop's order number.
        amount_cents: How much to give back, in cents.
    """
    return {"refunded": order_id}


@dataclass(frozen=True, slots=True)
class Setting:
    """What is set up for a game, and what happens in it.

    Args:
        tool: The one the agent has.
        call: What it asks for.
        result: What it must be told in the end.
        terms: Under which people are asked; with a channel there is a Slack, without one there is none.
        person: Who starts the run and decides in it.
        answer: What they say; None for a yes.
    """

    tool: Tool | Callable[..., Any]
    call: FunctionCall
    result: dict[str, Any]
    terms: Terms
    person: Actor
    answer: Any = None

    @property
    def recipe(self) -> Recipe:
        return Recipe("refund", model="gemini-3.8-flash", tools=(self.call.name,))


SETTINGS: Final = {
    games.LOOP.name: Setting(
        tool=TOOL,
        call=FunctionCall("c1", ASK_HUMAN, {"question": "May A-1042 be refunded?", "kind": "text"}),
        result={"answer": "approved", "answered_by": "a person"},
        terms=Terms(approvers=(DESK.id,)),
        person=DESK,
        answer="approved",
    ),
    games.JOB.name: Setting(
        tool=refund_order,
        call=FunctionCall("c1", "refund_order", {"order_id": "A-1042", "amount_cents": 8990}),
        result={"refunded": "A-1042"},
        terms=Terms(approvers=(ALICE.id,), channel="C0APPR"),
        person=ALICE,
    ),
}
