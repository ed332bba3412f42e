"""What each kind of question is called: a tool's call, an agent's plan, a run at its token limit. No I/O.

Our own words only; the names in them are made safe where they are drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.domain.asking import GO_ON, PLAN, is_own
from orchestrator.domain.model import Card, ToolCall, Verdict
from orchestrator.slack.looks import HEADLINES, Look
from orchestrator.slack.text import grouped, line


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of one question.

    Args:
        headlines: By look; what is not there is never drawn.
        approve: On the button that lets it happen; `reject` and `refine` likewise, empty for no button.
        sure: The dialog before that: its title and what follows.
        spoken: What the buttons are about, for screen readers.
    """

    headlines: Mapping[Look, str]
    approve: str
    reject: str
    sure: tuple[str, str]
    spoken: str
    refine: str = ""

    def headline(self, state: Look) -> str:
        return self.headlines.get(state) or f"{HEADLINES[state]}: {self.spoken}"


_PLAN: Final = Wording(
    {
        Look.PENDING: "An agent's plan needs a decision",
        Look.APPROVED: "Plan to be carried out",
        Look.SENT_BACK: "Plan sent back",
        Look.REJECTED: "Stopped at the plan",
        Look.EXPIRED: "Plan expired",
        Look.WITHDRAWN: "Plan withdrawn",
    },
    approve="Carry out",
    refine="Send back",
    reject="Stop",
    sure=(
        "Carry out this plan?",
        "The agent begins with the plan shown. A note is not sent along: only Send back does that.",
    ),
    spoken="the plan",
)
_GO_ON: Final = {
    Look.PENDING: "Token limit reached: go on?",
    Look.APPROVED: "Goes on beyond the token limit",
    Look.REJECTED: "Stopped at the token limit",
    Look.EXPIRED: "Expired at the token limit",
    Look.WITHDRAWN: "Withdrawn at the token limit",
}


def wording(card: Card) -> Wording:
    """The words for what this card asks."""
    if is_own(card.call) and card.call.tool == PLAN:
        return _PLAN
    if is_own(card.call) and card.call.tool == GO_ON:
        return Wording(
            _GO_ON, "Go on", "Stop", ("Go on?", f"The run may then use {allowance(card.call)}."), "the run"
        )
    tool = line(card.call.tool, 100)
    short = line(card.call.tool, 60)
    return Wording(
        {state: f"{words}: {tool}" for state, words in HEADLINES.items()},
        "Approve",
        "Reject",
        (f"Run {short}?", "The agent will run this now with the arguments shown."),
        short,
    )


def decided_by(card: Card, verdict: Verdict) -> str:
    """The label beside who decided."""
    if not is_own(card.call):
        return "Approved by" if verdict.approve else "Rejected by"
    if verdict.refine:
        return "Sent back by"
    if not verdict.approve:
        return "Stopped by"
    return "Carried out on the word of" if card.call.tool == PLAN else "Let go on by"


def reason_given(verdict: Verdict) -> str:
    """The label above a person's words."""
    return "Note to the agent" if verdict.refine else "Reason given"


def plan_of(call: ToolCall) -> str | None:
    """The plan a question is about, as the agent wrote it; None for any other question."""
    plan = call.arguments.get("plan")
    return plan if is_own(call) and call.tool == PLAN and isinstance(plan, str) else None


def limit_reached(call: ToolCall) -> tuple[str, ...]:
    """The facts of a question about going on, in sentences of ours; none for any other question."""
    if not is_own(call) or call.tool != GO_ON:
        return ()
    used, limit, turns = (_count(call, name) for name in ("tokens_used", "limit", "turns"))
    if used is None or limit is None or turns is None:
        return ()
    over = f"{_many(used, 'token')} used in {_many(turns, 'turn')}."
    return (
        over,
        f"People are asked after every {_many(limit, 'token')}.",
        f"Going on allows {allowance(call)}.",
    )


def allowance(call: ToolCall) -> str:
    limit = _count(call, "limit")
    return f"{grouped(limit)} more tokens" if limit is not None else "as many tokens again"


def _count(call: ToolCall, name: str) -> int | None:
    value = call.arguments.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _many(count: int, noun: str) -> str:
    return f"{grouped(count)} {noun}" if count == 1 else f"{grouped(count)} {noun}s"
