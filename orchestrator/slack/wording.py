"""What each kind of question is called: about a tool's call, an agent's plan, the run itself. No I/O.

Our own words only; the names in them are made safe where they are drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.domain.asking import GO_ON, PLAN, RESTART, is_own
from orchestrator.domain.cards import Card
from orchestrator.domain.choosing import is_choosing
from orchestrator.domain.consent import Verdict
from orchestrator.domain.human import is_question
from orchestrator.domain.model import ENDED, ToolCall
from orchestrator.domain.pipeline import step_of
from orchestrator.slack.looks import HEADLINES, Look, approval_step, sent_back
from orchestrator.slack.text import grouped, line

ONE_OF_SEVERAL: Final = "Yours is one of the approvals it needs."
"""What follows from a yes that is not the last one needed."""


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

_RESTART: Final = {
    Look.PENDING: "Gemini does not go on: restart?",
    Look.APPROVED: "To be restarted",
    Look.REJECTED: "Given up",
    Look.EXPIRED: "Restart expired",
    Look.WITHDRAWN: "Restart withdrawn",
}
_RESTARTED: Final = {**_RESTART, Look.APPROVED: "Restarted", Look.WITHDRAWN: "Restarted"}
_NOT_RESTARTED: Final = {**_RESTART, Look.APPROVED: "Not restarted"}


def wording(card: Card) -> Wording:
    """The words for what this card asks."""
    if is_own(card.call) and card.call.tool == RESTART:
        over = _NOT_RESTARTED if card.run_status in ENDED else _RESTART
        return Wording(
            _RESTARTED if card.taken_up_as else over,
            "Restart",
            "Give up",
            (
                "Restart this run?",
                "A new run begins with a record of what was done; this one is closed.",
            ),
            "the run",
        )
    if is_own(card.call) and card.call.tool == PLAN:
        return _PLAN
    if is_own(card.call) and card.call.tool == GO_ON:
        return Wording(
            _GO_ON, "Go on", "Stop", ("Go on?", f"The run may then use {allowance(card.call)}."), "the run"
        )
    if is_question(card.call):
        return _question(card)
    if step := approval_step(card):
        return _step(card, step)
    tool = line(card.call.tool, 100)
    short = line(card.call.tool, 60)
    heads = {state: f"{words}: {tool}" for state, words in HEADLINES.items()}
    if card.edited is not None:
        heads[Look.APPROVED] = f"{HEADLINES[Look.APPROVED]} with changes: {tool}"
    return Wording(
        heads,
        "Approve",
        "Reject",
        (f"Run {short}?", _follows(card)),
        short,
    )


def called(card: Card) -> str:
    """What a question is about, beside its workflow: a tool by its name."""
    if step := approval_step(card):
        return f"step {line(step, 40)}"
    ours = is_own(card.call) or is_question(card.call)
    return wording(card).spoken if ours else line(card.call.tool, 80)


def is_last(card: Card) -> bool:
    """Whether one more yes is all it needs."""
    approval = card.approval
    steps = enumerate(approval.terms.steps)
    return sum(max(0, step.quorum - approval.yeses(n)) for n, step in steps) <= 1


def _follows(card: Card) -> str:
    if not is_last(card):
        return f"{ONE_OF_SEVERAL} With the last of them it runs, with the arguments shown."
    runs = "It runs" if step_of(card.call.call_id) else "The agent will run this"
    return f"{runs} now with the arguments shown."


def _step(card: Card, step: str) -> Wording:
    """An approval step: nothing runs by it but the workflow itself."""
    name = f"step {line(step, 40)} of {line(card.workflow, 60)}"
    heads = {state: f"{words}: {name}" for state, words in HEADLINES.items()}
    heads[Look.PENDING] = f"Let the workflow {line(card.workflow, 60)} go on: {line(step, 40)}"
    heads[Look.RUNNING] = heads[Look.DONE] = heads[Look.APPROVED]
    on = "It goes on now, with the facts shown."
    if not is_last(card):
        on = f"{ONE_OF_SEVERAL} With the last of them it goes on, with the facts shown."
    return Wording(heads, "Approve", "Reject", ("Let the workflow go on?", on), f"the {name}")


def _question(card: Card) -> Wording:
    """The agent asks people something: nothing is let happen by it."""
    of = f"from {line(card.workflow, 100)}"
    if is_choosing(card.call):
        return _choice(of, anew=sent_back(card))
    heads = {
        Look.PENDING: f"Question {of}",
        Look.ANSWERED: f"Answered: question {of}",
        Look.REJECTED: f"Declined: question {of}",
        Look.EXPIRED: f"Not answered: question {of}",
        Look.WITHDRAWN: f"Withdrawn: question {of}",
    }
    sure = ("Send this answer?", "The agent is given it, and goes on.")
    return Wording(heads, "Answer", "Decline", sure, "the question")


def _choice(of: str, *, anew: bool) -> Wording:
    """People choose among finished files."""
    heads = {
        Look.PENDING: f"Choice to make {of}",
        Look.ANSWERED: f"{'To be made anew' if anew else 'Chosen'}: choice {of}",
        Look.REJECTED: f"Rejected: choice {of}",
        Look.EXPIRED: f"Not made: choice {of}",
        Look.WITHDRAWN: f"Withdrawn: choice {of}",
    }
    sure = ("Take this one?", "The run goes on with it.")
    return Wording(heads, "Answer", "Reject", sure, "the choice")


def decided_by(card: Card, verdict: Verdict) -> str:
    """The label beside who decided."""
    if verdict.answer is not None:
        if not is_choosing(card.call):
            return "Answered by"
        return "Sent back by" if sent_back(card) else "Chosen by"
    if verdict.stop:
        return "Rejected, and the run stopped, by"
    if is_question(card.call):
        return "Rejected by" if is_choosing(card.call) else "Declined by"
    if not is_own(card.call):
        return "Approved by" if verdict.approve else "Rejected by"
    if verdict.refine:
        return "Sent back by"
    if card.call.tool == RESTART:
        return "Restart asked for by" if verdict.approve else "Given up by"
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


def refused(call: ToolCall) -> tuple[tuple[str, ...], str] | None:
    """The facts of a question about a restart: sentences of ours, and Gemini's words; None for any other."""
    if not is_own(call) or call.tool != RESTART:
        return None
    turn, made = _count(call, "turn"), _count(call, "calls_made")
    said = call.arguments.get("gemini_said")
    if turn is None or made is None or not isinstance(said, str):
        return None
    done = f"{_many(made, 'call')} of it succeeded; a new run is told so." if made else ""
    return (
        f"Gemini refused the request for turn {grouped(turn)}.",
        done or "None of its calls succeeded.",
    ), said


def allowance(call: ToolCall) -> str:
    limit = _count(call, "limit")
    return f"{grouped(limit)} more tokens" if limit is not None else "as many tokens again"


def _count(call: ToolCall, name: str) -> int | None:
    value = call.arguments.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _many(count: int, noun: str) -> str:
    return f"{grouped(count)} {noun}" if count == 1 else f"{grouped(count)} {noun}s"
