"""What a message says about its row: one look per state, and the words that go with it. No I/O.

    pending ─┬─ approved ─┬─ running ─┬─ done
             │            │           ├─ failed
             │            │           └─ in doubt
             │            ├─ lapsed        not started in time
             │            └─ refused       policy changed its mind
             ├─ answered     by a person, instead: nothing runs
             ├─ rejected
             ├─ expired
             ├─ withdrawn                  also after an approval
             └─ replaced                   another question took its place, somewhere else

A question of the run itself is settled by its answer: nothing runs by it.

    pending ─┬─ approved, sent back, rejected
             └─ expired, withdrawn

The row's statuses decide. The clock only takes away: what is overdue is drawn as over before its timer fires.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from orchestrator.domain import choosing
from orchestrator.domain.asking import PLAN, RESTART, is_own
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import ApprovalStatus
from orchestrator.domain.human import is_question
from orchestrator.domain.model import ENDED, CallStatus, OutcomeKind, RunStatus
from orchestrator.domain.pipeline import asked_by, step_of


class Look(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    LAPSED = "lapsed"
    REFUSED = "refused"
    REJECTED = "rejected"
    ANSWERED = "answered"
    SENT_BACK = "sent_back"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    REPLACED = "replaced"


HEADLINES: Final = {
    Look.PENDING: "Approval needed",
    Look.APPROVED: "Approved",
    Look.RUNNING: "Approved and running",
    Look.DONE: "Done",
    Look.FAILED: "Failed after approval",
    Look.IN_DOUBT: "In doubt",
    Look.LAPSED: "Lapsed",
    Look.REFUSED: "Not run",
    Look.REJECTED: "Rejected",
    Look.ANSWERED: "Answered instead",
    Look.SENT_BACK: "Sent back",
    Look.EXPIRED: "Expired",
    Look.WITHDRAWN: "Withdrawn",
    Look.REPLACED: "Replaced",
}

_SENTENCES: Final = {
    Look.APPROVED: "Approved. It has not started yet.",
    Look.RUNNING: "Approved. The tool is running now.",
    Look.DONE: "Approved, and the tool has finished.",
    Look.FAILED: "Approved, but the tool failed.",
    Look.IN_DOUBT: "Started, then cut off: nobody knows whether it took effect. An operator has to say.",
    Look.LAPSED: "Approved, but it did not start in time. It does not run.",
    Look.REFUSED: "Approved, but refused before it started. It did not run.",
    Look.REJECTED: "Rejected. It does not run.",
    Look.ANSWERED: "A person answered in its place. It does not run.",
    Look.EXPIRED: "No decision in time. It does not run.",
    Look.REPLACED: "Another question about the same call has taken the place of this one.",
}
_AT_WORK: Final = "Approved. Gemini is at work on it."
_QUESTION_SENTENCES: Final = {
    Look.ANSWERED: "A person answered.",
    Look.REJECTED: "A person declined to answer.",
    Look.EXPIRED: "Nobody answered in time.",
}
_CHOICE_SENTENCES: Final = {
    Look.ANSWERED: "A person has chosen.",
    Look.REJECTED: "A person took none of them.",
    Look.EXPIRED: "Nobody chose in time.",
}
_ANEW: Final = "None of them is taken: they are to be made anew, with the note below."
_ON: Final = "The workflow goes on."
_NOT_ON: Final = "The workflow does not go on."
_STEP_SENTENCES: Final = {
    **dict.fromkeys((Look.APPROVED, Look.RUNNING, Look.DONE), _ON),
    Look.LAPSED: f"Approved, but too late. {_NOT_ON}",
    Look.REFUSED: f"Approved, but policy has changed its mind since. {_NOT_ON}",
    Look.REJECTED: _NOT_ON,
    Look.EXPIRED: f"No decision in time. {_NOT_ON}",
}
_PLAN_SENTENCES: Final = {
    Look.APPROVED: "The agent carries it out.",
    Look.SENT_BACK: "It is not carried out; the agent plans anew, with the note below.",
    Look.REJECTED: "It is not carried out.",
    Look.EXPIRED: "No decision in time. It is not carried out.",
    Look.WITHDRAWN: "It is not carried out.",
}
_GO_ON_SENTENCES: Final = {
    Look.APPROVED: "The run goes on.",
    Look.SENT_BACK: "The run does not go on.",
    Look.REJECTED: "The run does not go on.",
    Look.EXPIRED: "No decision in time. The run does not go on.",
    Look.WITHDRAWN: "The run does not go on.",
}
_RESTART_SENTENCES: Final = {
    Look.APPROVED: "Another run is being opened that takes its work up.",
    Look.SENT_BACK: "It is not restarted.",
    Look.REJECTED: "It is not restarted.",
    Look.EXPIRED: "No decision in time. It is not restarted.",
    Look.WITHDRAWN: "It is not restarted.",
}
_TOLD: Final = frozenset({Look.FAILED, Look.LAPSED, Look.REFUSED, Look.REJECTED, Look.ANSWERED, Look.EXPIRED})
_RUN_WORDS: Final = {
    RunStatus.COMPLETED: "The run has ended.",
    RunStatus.FAILED: "The run has failed.",
    RunStatus.CANCELLED: "The run was cancelled.",
}
_OUTCOMES: Final = {
    OutcomeKind.SUCCEEDED: Look.DONE,
    OutcomeKind.FAILED: Look.FAILED,
    OutcomeKind.REJECTED: Look.REJECTED,
    OutcomeKind.EXPIRED: Look.LAPSED,
    OutcomeKind.DENIED: Look.REFUSED,
    OutcomeKind.WITHDRAWN: Look.WITHDRAWN,
}
_RAN: Final = frozenset({OutcomeKind.SUCCEEDED, OutcomeKind.FAILED})
_MOVING: Final = {
    CallStatus.EXECUTING: Look.RUNNING,
    CallStatus.AWAITING_JOB: Look.RUNNING,
    CallStatus.IN_DOUBT: Look.IN_DOUBT,
}


def look(card: Card, now: datetime) -> Look:
    """Which look the rows have at `now` (aware)."""
    approval = card.approval
    if card.replaced:
        return Look.REPLACED
    if is_own(card.call):
        return _own(card, now)
    if card.call.status is CallStatus.IN_DOUBT:
        return Look.IN_DOUBT
    match approval.status:
        case ApprovalStatus.PENDING:
            return _open(card, now)
        case ApprovalStatus.APPROVED:
            return Look.ANSWERED if approval.answered else _granted(card, now)
        case ApprovalStatus.REJECTED:
            return Look.REJECTED
        case ApprovalStatus.EXPIRED:
            granted = approval.verdict is not None and approval.verdict.approve
            return Look.LAPSED if granted else Look.EXPIRED
        case ApprovalStatus.WITHDRAWN:
            return Look.WITHDRAWN


def _own(card: Card, now: datetime) -> Look:
    verdict = card.approval.verdict
    match card.approval.status:
        case ApprovalStatus.PENDING:
            return _open(card, now)
        case ApprovalStatus.APPROVED:
            return Look.APPROVED
        case ApprovalStatus.REJECTED:
            return Look.SENT_BACK if verdict is not None and verdict.refine else Look.REJECTED
        case ApprovalStatus.EXPIRED:
            return Look.EXPIRED
        case ApprovalStatus.WITHDRAWN:
            return Look.WITHDRAWN


def _open(card: Card, now: datetime) -> Look:
    """A question that nobody can answer any more is not drawn as one."""
    if card.run_status in ENDED or card.call.status is not CallStatus.AWAITING_APPROVAL:
        return Look.WITHDRAWN
    return Look.EXPIRED if now >= card.approval.expires_at else Look.PENDING


def _granted(card: Card, now: datetime) -> Look:
    call, start_by = card.call, card.approval.start_by
    if call.settled and call.outcome is not None:
        return _OUTCOMES[call.outcome.kind]
    if call.status in _MOVING:
        return _MOVING[call.status]
    if card.run_status in ENDED:
        return Look.WITHDRAWN
    return Look.LAPSED if start_by is not None and now > start_by else Look.APPROVED


def sentence(card: Card, state: Look) -> str:
    """What the state means, in one to three sentences of ours; empty while the question is open."""
    if state is Look.PENDING:
        return ""
    if is_own(card.call):
        return _own_sentence(card, state)
    if state is Look.WITHDRAWN:
        return _withdrawn(card)
    words = _particular(card).get(state) or _SENTENCES[state]
    if state is Look.RUNNING and card.call.status is CallStatus.AWAITING_JOB:
        words = _AT_WORK
    if state is Look.IN_DOUBT and card.call.started_at is None:
        words = (
            "What was approved is not what would run now. Nothing was run; an operator has to say what now."
        )
    if state in _TOLD and step_of(card.call.call_id):
        return _and_then(card, state, words)
    if state in _TOLD and card.run_status not in (RunStatus.FAILED, RunStatus.CANCELLED):
        return f"{words} The agent is told so."
    over = _RUN_WORDS.get(card.run_status, "") if state in (Look.RUNNING, Look.IN_DOUBT) else ""
    return f"{words} {over}".strip()


def _and_then(card: Card, state: Look, words: str) -> str:
    """What becomes of a workflow whose step it is: there is no agent that would be told."""
    if state is not Look.ANSWERED:
        return words if words.endswith(_NOT_ON) else f"{words} {_NOT_ON}"
    return words if sent_back(card) else f"{words} {_ON}"


def _particular(card: Card) -> Mapping[Look, str]:
    """The sentences of what is not a tool's call like others."""
    if choosing.is_choosing(card.call):
        anew = sent_back(card)
        return {**_CHOICE_SENTENCES, Look.ANSWERED: _ANEW} if anew else _CHOICE_SENTENCES
    if is_question(card.call):
        return _QUESTION_SENTENCES
    return _STEP_SENTENCES if approval_step(card) else {}


def approval_step(card: Card) -> str:
    """The step of the workflow that asks; empty for what asks otherwise."""
    return asked_by(card.workflow, card.call.tool, card.call.call_id)


def sent_back(card: Card) -> bool:
    """Whether people who were to choose want other files."""
    verdict = card.approval.verdict
    return verdict is not None and choosing.is_choosing(card.call) and choosing.wants_others(verdict.answer)


def _own_sentence(card: Card, state: Look) -> str:
    if card.call.tool == RESTART:
        return _restart_sentence(card, state)
    words = (_PLAN_SENTENCES if card.call.tool == PLAN else _GO_ON_SENTENCES)[state]
    over = _RUN_WORDS.get(card.run_status, "")
    if state is Look.WITHDRAWN:
        return f"{over or 'The question was taken back.'} {words}"
    if state is Look.APPROVED and over:
        return over  # what was begun has come to its end, or never came to it
    return f"{words} {over}".strip()


def _restart_sentence(card: Card, state: Look) -> str:
    """Once another run has taken the work up, that is the news, whoever asked for it and by which door."""
    if card.taken_up_as:
        return "It was restarted as another run, with a record of what was done, and is closed."
    over = _RUN_WORDS.get(card.run_status, "")
    if state is Look.APPROVED and over:
        return f"{over} It is not restarted."
    if state is Look.WITHDRAWN:
        return f"{over or 'It went on after all.'} {_RESTART_SENTENCES[state]}"
    return f"{_RESTART_SENTENCES[state]} {over}".strip()


def _withdrawn(card: Card) -> str:
    call = card.call
    why = _RUN_WORDS.get(card.run_status, "The request was taken back.")
    if (
        call.outcome is not None
        and call.outcome.kind is OutcomeKind.WITHDRAWN
        and call.started_at is not None
    ):
        return f"{why} The tool had started; its result is not used."
    if call.status is CallStatus.PREVIEWING and card.run_status not in ENDED:
        return "The arguments were changed. What the call would do now is being worked out."
    if approval_step(card):
        return f"{why} {_NOT_ON}"
    if is_question(card.call):
        return f"{why} There is nothing to answer any more."
    gone_on = call.status in _MOVING or (call.outcome is not None and call.outcome.kind in _RAN)
    return f"{why} The call went on without this request." if gone_on else f"{why} It does not run."
