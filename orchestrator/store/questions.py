"""Questions by their id, current or long answered, and the messages in Slack that show them."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.consent import Approval, Place, Verdict
from orchestrator.domain.model import OutcomeKind, Run, ToolCall
from orchestrator.domain.plain import exact
from orchestrator.domain.values import replace
from orchestrator.store import message_copies, runs, turns
from orchestrator.store.run_rows import approval_t, approval_value, call_t, call_value, turn_t
from orchestrator.store.sql.held import hold, on_sqlite
from orchestrator.store.sql.prepared import Prepared
from orchestrator.store.sql.spelled import Row

MOST_REJECTED: Final = 100
"""Rejected calls of a tool, the newest ones, that a call is compared with."""
_APPROVAL = Prepared(sa.select(approval_t).where(approval_t.c.id == sa.bindparam("of_approval")))
_RUN_OF = Prepared(sa.select(approval_t.c.run_id).where(approval_t.c.id == sa.bindparam("of_approval")))
_CALL_OF = Prepared(
    sa.select(call_t)
    .join(approval_t, approval_t.c.call == call_t.c.id)
    .where(approval_t.c.id == sa.bindparam("of_approval"))
)
_ASKED_NOW = Prepared(
    sa.select(approval_t)
    .join(call_t, call_t.c.approval == approval_t.c.id)
    .where(call_t.c.id == sa.bindparam("of_call"))
)
_REJECTED = Prepared(
    sa.select(call_t.c.arguments, approval_t.c.verdict)
    .join_from(call_t, approval_t, call_t.c.approval == approval_t.c.id)
    .where(
        call_t.c.run_id == sa.bindparam("of_run"),
        call_t.c.tool.concat("") == sa.bindparam("of_tool"),  # not by the index of all calls of the tool
        call_t.c.id != sa.bindparam("of_call"),
        call_t.c.outcome == OutcomeKind.REJECTED,
    )
    .order_by(call_t.c.settled_at.desc(), call_t.c.id)
    .limit(MOST_REJECTED)
)
_SHOWN = Prepared(
    sa.select(approval_t).where(
        approval_t.c.ts == sa.bindparam("of_ts"),
        sa.text("approval.ts <> ''"),
        approval_t.c.channel == sa.bindparam("of_channel"),
    )
)
_PLACE = Prepared(
    approval_t.update().where(approval_t.c.id == sa.bindparam("of_approval")), ["channel", "ts"]
)
_COPIES = Prepared(approval_t.update().where(approval_t.c.id == sa.bindparam("of_approval")), ["copies"])
_QUESTIONS = Prepared(
    approval_t.update().where(approval_t.c.id == sa.bindparam("of_approval")), ["questions"]
)
_PLACE_BATCH = Prepared(
    turn_t.update().where(
        turn_t.c.run_id == sa.bindparam("of_run"),
        turn_t.c.number == sa.bindparam("of_turn"),
        turn_t.c.batch_channel != "",
    ),
    ["batch_ts"],
)
_BATCH = Prepared(
    sa.select(turn_t.c.batch_channel, turn_t.c.batch_ts)
    .join(call_t, sa.and_(call_t.c.run_id == turn_t.c.run_id, call_t.c.turn == turn_t.c.number))
    .where(call_t.c.id == sa.bindparam("of_call"))
)


def load_approval(s: Session, approval: str, run: Run | None = None) -> tuple[Approval, ToolCall, str] | None:
    """One question, current or long answered, with its call and the id of its run.

    Args:
        run: As it is now, where that is known: a question of its newest turns need not be read.
    """
    run = run or _recalled(s, approval)
    if run is not None:
        for turn in filter(None, (run.turn, turns.left(s, run.id))):
            current = turn.by_approval(approval)
            if current is not None and current.approval is not None:
                return current.approval, current, run.id
    asked: list[Row] = []
    _APPROVAL.learn(s, asked.extend, of_approval=approval)
    call = _CALL_OF.first(s, of_approval=approval)
    if not asked:
        return None
    value = approval_value(asked[0])
    if call is None:
        raise LookupError(f"approval {approval} has no call")
    return value, call_value(call, value), asked[0]["run_id"]


def _recalled(s: Session, approval: str) -> Run | None:
    """The run it is of, where SQLite's only writer knows that run already."""
    if not on_sqlite(s) or not (seen := hold(s).seen):
        return None
    run_id = seen.get(runs.asked_by(approval)) or _RUN_OF.value(s, of_approval=approval)
    known: Run | None = seen.get(run_id)
    return known


def shown_elsewhere(s: Session, approval: str, channel: str, ts: str) -> bool:
    """Whether a message is known to show a question about another call, and not this one.

    One that nobody knows may be a twin whose answer got lost, or one whose place is not written down yet.
    """
    row = _APPROVAL.first(s, of_approval=approval)
    if row is None or _shows(row, channel, ts):
        return False
    there = _there(s, channel, ts)
    return bool(there) and all(r["call"] != row["call"] for r in there)


def replaced(s: Session, approval: str) -> Approval | None:
    """The question about the same call that was put in the place of this one; None where it is the newest."""
    call = _CALL_OF.first(s, of_approval=approval)
    if call is None or call["approval"] in (None, approval):
        return None
    return asked_now(s, call["id"])


def _there(s: Session, channel: str, ts: str) -> list[Row]:
    """The questions a message shows or showed."""
    copies = (_APPROVAL.first(s, of_approval=known) for known in message_copies.there(s, channel, ts))
    return [*_SHOWN.rows(s, of_ts=ts, of_channel=channel), *(row for row in copies if row is not None)]


def shown_at(s: Session, channel: str, ts: str) -> Approval | None:
    """The question a message shows: of several about one call, each in the place of another, the newest."""
    known = [approval_value(row) for row in _there(s, channel, ts)]
    return max(known, key=lambda a: (a.requested_at, a.revision), default=None)


def is_stray(s: Session, approval: str, channel: str, ts: str) -> bool:
    """Whether a message that shows this question is none of those we know.

    Not where it is not known yet where the question stands: that message may be the one.
    """
    row = _APPROVAL.first(s, of_approval=approval)
    return row is not None and bool(row["ts"]) and not _shows(row, channel, ts)


def _shows(row: Mapping[str, Any], channel: str, ts: str) -> bool:
    own = (row["channel"], row["ts"]) == (channel, ts)
    return own or any((copy["channel"], copy["ts"]) == (channel, ts) for copy in row["copies"])


def asked_now(s: Session, call: str, run: str = "") -> Approval | None:
    """The newest question about a call; need not be read where this transaction knows its run, which may be
    said.
    """
    known: Run | None = hold(s).seen.get(run)
    current = known.turn.call(call) if known else None
    if current is not None:
        return current.approval
    row = _ASKED_NOW.first(s, of_call=call)
    return approval_value(row) if row else None


def rejections(s: Session, run_id: str, call: ToolCall) -> tuple[Verdict | None, int]:
    """How often people have said no to the very same call in this run, and the newest of these verdicts."""
    rows = _REJECTED.rows(s, of_run=run_id, of_tool=call.tool, of_call=call.id)
    alike = exact(call.arguments)
    same = [r["verdict"] for r in rows if r["verdict"] and exact(r["arguments"]) == alike]
    return (msgspec.convert(same[0], Verdict) if same else None), len(same)


def place(s: Session, approval: str, channel: str, ts: str) -> bool:
    """Where the message of a question is that is asked no longer; False when there is no such question."""
    return _PLACE.run(s, of_approval=approval, channel=channel, ts=ts) == 1


def place_copy(s: Session, approval: str, place: Place, most: int) -> bool:
    """Where one more message is, if that is news; False too where there is no such question, or too many."""
    row = _APPROVAL.first(s, of_approval=approval)
    if row is None or _shows(row, place.channel, place.ts) or len(row["copies"]) >= most:
        return False
    message_copies.add(s, approval, [place])
    copies = [*row["copies"], msgspec.to_builtins(place)]
    return _COPIES.run(s, of_approval=approval, copies=copies) == 1


def place_inquiry(s: Session, approval: str, number: int, place: Place) -> bool:
    """Where a question that was asked back about it stands, of a request asked no longer; False for none."""
    row = _APPROVAL.first(s, of_approval=approval)
    questions = approval_value(row).questions if row else ()
    if not 1 <= number <= len(questions):
        return False
    asked_back = questions[number - 1]
    shown = replace(asked_back, places=tuple(dict.fromkeys((*asked_back.places, place))))
    changed = (*questions[: number - 1], shown, *questions[number:])
    return _QUESTIONS.run(s, of_approval=approval, questions=msgspec.to_builtins(changed)) == 1


def place_batch(s: Session, run_id: str, turn: int, ts: str) -> bool:
    """Where the message over the questions of a turn is that was left behind; False when it never had one."""
    return _PLACE_BATCH.run(s, of_run=run_id, of_turn=turn, batch_ts=ts) == 1


def batch_over(s: Session, call: str, run: str) -> Place | None:
    """The message over the questions of the turn a call of that run belongs to."""
    left = turns.left(s, run)
    if left is not None and left.call(call) is not None:
        return left.batch
    row = _BATCH.first(s, of_call=call)
    return Place(row["batch_channel"], row["batch_ts"]) if row and row["batch_channel"] else None
