"""The rows of a run and all it has, and the values they stand for."""

from collections.abc import Callable
from functools import wraps
from itertools import compress
from operator import attrgetter, is_not
from typing import Any, Final, ParamSpec, TypeVar

import msgspec

from orchestrator.domain.consent import Actor, Approval, Inquiry, Place, Preview, Terms, Verdict, Vote
from orchestrator.domain.jobs import Job
from orchestrator.domain.model import CallStatus, Outcome, Recipe, Run, ToolCall, Turn
from orchestrator.domain.sources import Source
from orchestrator.errors import UnreadableError
from orchestrator.store.sql.encoding import prepare
from orchestrator.store.tables import ApprovalRow, CallRow, EventRow, InteractionRow, RunRow, TurnRow, table

prepare(Actor, Preview, Recipe, Terms, Verdict)
prepare(tuple[Inquiry, ...], tuple[Place, ...], tuple[Source, ...], tuple[Vote, ...])

run_t, turn_t, call_t = table(RunRow), table(TurnRow), table(CallRow)
approval_t, event_t, interaction_t = table(ApprovalRow), table(EventRow), table(InteractionRow)

UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError)
"""What reading a row raises in which somebody put what no column of its kind holds; SQLite takes anything."""

P = ParamSpec("P")
T = TypeVar("T")
Spell = Callable[[Any], Any]
Column = tuple[str, str, Spell | None]
"""Its name, the attribute it is made of, and how that is written; None for as it is."""


class Columns:
    """What of a value stands in columns."""

    def __init__(self, *columns: Column) -> None:
        self.names: Final = tuple((name, spell) for name, _, spell in columns)
        self.of: Final = attrgetter(*(of for _, of, _ in columns))
        """The attributes, in that order."""


def _columns(*plain: str, **spelled: Spell) -> tuple[Column, ...]:
    as_it_is = ((name, name, None) for name in plain)
    return (*as_it_is, *((name, name, spell) for name, spell in spelled.items()))


RUN: Final = Columns(
    *_columns("status", "output", "reason", "bad_calls", "granted", "closed_at", "step"),
    *_columns(usage=dict, outputs=dict, sources=msgspec.to_builtins),
)
"""What changes of a run over its life; beside it the number of its turn, and what counts its changes."""
TURN: Final = Columns(
    *_columns("attempt", "status", "interaction_id", "previous_id", "readings", "sent_at", "continuation"),
    *_columns("forgotten_at", "said", "note", "planning", "environment"),
    ("gemini_status", "gemini_status", lambda status: status[:64]),
    ("batch_channel", "batch", lambda place: place.channel if place else ""),
    ("batch_ts", "batch", lambda place: place.ts if place else ""),
)
CALL: Final = Columns(
    *_columns("call_id", "tool", "status", "idempotent", "claim", "started_at", "settled_at"),
    *_columns(arguments=dict, jobs=len),
    ("approval", "approval", lambda approval: approval.id if approval else None),
    ("outcome", "outcome", lambda outcome: outcome.kind if outcome else None),
    ("result", "outcome", lambda outcome: outcome.result if outcome else None),
)
APPROVAL: Final = Columns(
    *_columns("revision", "status", "digest", "expires_at", "start_by", "channel", "ts", "trouble"),
    *_columns("reminded", "escalated", "collected", "since", "seal"),
    *_columns(
        terms=msgspec.to_builtins,
        verdict=lambda verdict: msgspec.to_builtins(verdict) if verdict else None,
        votes=msgspec.to_builtins,
        copies=msgspec.to_builtins,
        preview=lambda preview: msgspec.to_builtins(preview) if preview else None,
        questions=msgspec.to_builtins,
    ),
)


def written(value: Any, columns: Columns) -> dict[str, Any]:
    """All of those columns of a value."""
    told = zip(columns.names, columns.of(value), strict=True)
    return {name: new if spell is None else spell(new) for (name, spell), new in told}


def changed(before: Any, after: Any, columns: Columns) -> dict[str, Any]:
    """Those of another value now than they had. An object only has to be another: 1 and `true` are equal."""
    found: dict[str, Any] = {}
    if before is after:
        return found
    was, is_now = columns.of(before), columns.of(after)
    others = map(is_not, was, is_now)
    for (name, spell), old, new in compress(zip(columns.names, was, is_now, strict=True), others):
        if spell is dict or old != new:
            found[name] = new if spell is None else spell(new)
    return found


def raises_unreadable(what: str, run: str = "run_id") -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Rows that say what cannot be raise `UnreadableError`, which names the run by that column."""

    def told(make: Callable[P, T]) -> Callable[P, T]:
        @wraps(make)
        def made(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return make(*args, **kwargs)
            except UNREADABLE as e:
                row: Any = args[0]
                raise UnreadableError(f"run {row[run]} cannot be read: {what} {e}") from e

        return made

    return told


@raises_unreadable("the terms of a question:")
def terms_value(row: Any) -> Terms:
    """Of a question's row."""
    return msgspec.convert(row["terms"], Terms)


@raises_unreadable("its own row:", run="id")
def run_value(row: Any, turn: Turn) -> Run:
    """A run's row as a value, with its newest turn."""
    return Run(
        id=row["id"],
        recipe=msgspec.convert(row["recipe"], Recipe),
        status=row["status"],
        turn=turn,
        input=row["input"],
        requester=msgspec.convert(row["requester"], Actor),
        created_at=row["created_at"],
        deadline=row["deadline"],
        output=row["output"],
        reason=row["reason"],
        usage=row["usage"],
        bad_calls=row["bad_calls"],
        granted=row["granted"],
        restart_of=row["restart_of"],
        closed_at=row["closed_at"],
        version=row["version"],
        seq=row["seq"],
        step=row["step"],
        outputs=row["outputs"],
        sources=msgspec.convert(row["sources"], tuple[Source, ...]) if row["sources"] else (),
    )


@raises_unreadable("a turn:")
def turn_value(row: Any, calls: tuple[ToolCall, ...]) -> Turn:
    """A turn's row as a value, with its calls."""
    return Turn(
        number=row["number"],
        attempt=row["attempt"],
        status=row["status"],
        interaction_id=row["interaction_id"],
        previous_id=row["previous_id"],
        gemini_status=row["gemini_status"],
        readings=row["readings"],
        sent_at=row["sent_at"],
        continuation=row["continuation"],
        forgotten_at=row["forgotten_at"],
        said=row["said"],
        note=row["note"],
        planning=row["planning"],
        environment=row["environment"],
        batch=Place(row["batch_channel"], row["batch_ts"]) if row["batch_channel"] else None,
        calls=calls,
    )


@raises_unreadable("a call:")
def call_value(row: Any, approval: Approval | None, made: tuple[Job, ...] = ()) -> ToolCall:
    """A call's row as a value, with the jobs it waits for."""
    outcome = Outcome(row["outcome"], row["result"]) if row["outcome"] else None
    return ToolCall(
        id=row["id"],
        call_id=row["call_id"],
        tool=row["tool"],
        arguments=row["arguments"],
        status=CallStatus(row["status"]),
        idempotent=row["idempotent"],
        approval=approval,
        outcome=outcome,
        claim=row["claim"],
        started_at=row["started_at"],
        settled_at=row["settled_at"],
        jobs=made,
    )


@raises_unreadable("a question:")
def approval_value(row: Any) -> Approval:
    """An approval's row as a value."""
    return Approval(
        id=row["id"],
        status=row["status"],
        digest=row["digest"],
        terms=terms_value(row),
        requested_at=row["requested_at"],
        expires_at=row["expires_at"],
        revision=row["revision"],
        start_by=row["start_by"],
        verdict=msgspec.convert(row["verdict"], Verdict) if row["verdict"] else None,
        channel=row["channel"],
        ts=row["ts"],
        trouble=row["trouble"],
        votes=msgspec.convert(row["votes"], tuple[Vote, ...]) if row["votes"] else (),
        reminded=row["reminded"],
        escalated=row["escalated"],
        copies=msgspec.convert(row["copies"], tuple[Place, ...]) if row["copies"] else (),
        preview=msgspec.convert(row["preview"], Preview) if row["preview"] else None,
        collected=row["collected"],
        since=row["since"],
        questions=msgspec.convert(row["questions"], tuple[Inquiry, ...]) if row["questions"] else (),
        seal=row["seal"],
    )
