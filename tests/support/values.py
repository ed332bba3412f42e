"""Runs of every shape, for round trips: as Hypothesis strategies and as one of each status."""

from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st

from orchestrator.domain.consent import Actor, Approval, ApprovalStatus, Place, Terms, Verdict, approval_key
from orchestrator.domain.decision import status_of
from orchestrator.domain.model import (
    ENDED,
    CallStatus,
    Limits,
    Outcome,
    OutcomeKind,
    Recipe,
    Run,
    RunStatus,
    ToolCall,
    Turn,
    TurnStatus,
    call_key,
)

# What the rooms at the border let through: no NUL, no half surrogate pairs.
TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=30)
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
SPANS = st.timedeltas(timedelta(seconds=1), timedelta(days=60))
SAFE = 2**53 - 1
PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-SAFE, SAFE)
    | st.floats(-1e15, 1e15).map(lambda f: f + 0.0)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXT, PLAIN, max_size=3)
ACTORS = st.builds(Actor, TEXT, TEXT, st.sampled_from(["slack", "api", "shell", "system"]))
TERMS = st.builds(Terms, st.lists(TEXT, max_size=3).map(tuple), TEXT, SPANS, SPANS)
VERDICTS = st.builds(Verdict, st.booleans(), ACTORS, INSTANTS, TEXT, st.booleans())
OUTCOMES = st.builds(Outcome, st.sampled_from(OutcomeKind), TEXT | OBJECTS | st.lists(OBJECTS, max_size=2))
COUNTS = st.integers(1, 99)
LIMITS = st.builds(Limits, COUNTS, COUNTS, COUNTS, SPANS, st.none() | st.integers(1, SAFE))
RECIPES = st.builds(
    Recipe,
    st.text("abc-", min_size=1, max_size=20),
    st.none() | TEXT,
    st.none() | TEXT,
    st.none() | TEXT,
    st.lists(TEXT, max_size=3).map(tuple),
    st.lists(OBJECTS, max_size=2).map(tuple),
    OBJECTS,
    st.none() | OBJECTS,
    st.none() | OBJECTS,
    st.none() | TEXT | OBJECTS,
    st.none() | TERMS,
    LIMITS,
)


@st.composite
def approvals(draw: st.DrawFn, call: str) -> Approval:
    revision = draw(st.integers(1, 3))
    return Approval(
        approval_key(call, revision),
        draw(st.sampled_from(ApprovalStatus)),
        draw(st.text("0123456789abcdef", min_size=64, max_size=64)),
        draw(TERMS),
        draw(INSTANTS),
        draw(INSTANTS),
        revision,
        draw(st.none() | INSTANTS),
        draw(st.none() | VERDICTS),
        draw(TEXT),
        draw(st.sampled_from(["", "1700000000.000100"])),
        draw(TEXT),
    )


@st.composite
def tool_calls(draw: st.DrawFn, run_id: str, n: int) -> ToolCall:
    status = draw(st.sampled_from(CallStatus))
    key = call_key(run_id, "i1", str(n))
    return ToolCall(
        key,
        f"{draw(TEXT)}{n}",
        draw(TEXT),
        draw(OBJECTS),
        status,
        draw(st.booleans()),
        draw(st.none() | approvals(key)),
        draw(OUTCOMES) if status is CallStatus.SETTLED else None,
        draw(st.none() | st.just("k1")),
        draw(st.none() | INSTANTS),
        draw(st.none() | INSTANTS),
    )


@st.composite
def turns(draw: st.DrawFn, run_id: str) -> Turn:
    status = draw(st.sampled_from(TurnStatus))
    called = status in (TurnStatus.ACTION, TurnStatus.ENDED)
    return Turn(
        1,
        draw(st.integers(1, 5)),
        status,
        draw(st.none() | st.text("abc_-", min_size=1, max_size=60)),
        draw(st.none() | st.text("abc_-", min_size=1, max_size=60)),
        draw(st.text("abc_", max_size=64)),
        draw(st.integers(0, 9)),
        draw(st.none() | INSTANTS),
        draw(st.none() | TEXT),
        draw(st.none() | INSTANTS),
        draw(TEXT),
        draw(TEXT),
        draw(st.none() | st.booleans()),
        draw(st.none() | st.text("abc_-", min_size=1, max_size=60)),
        tuple(draw(tool_calls(run_id, n)) for n in range(draw(st.integers(0, 3)) if called else 0)),
        draw(st.none() | st.builds(Place, st.just("C0APPR"), st.sampled_from(["", "1700000000.000100"]))),
    )


@st.composite
def any_runs(draw: st.DrawFn) -> Run:
    run_id = "run_" + draw(st.text("0123456789abcdef", min_size=24, max_size=24))
    turn = draw(turns(run_id))
    status = draw(st.sampled_from([status_of(turn), *sorted(ENDED)]))
    return Run(
        id=run_id,
        recipe=draw(RECIPES),
        status=RunStatus(status),
        turn=turn,
        input=draw(TEXT),
        requester=draw(ACTORS),
        created_at=draw(INSTANTS),
        deadline=draw(INSTANTS),
        output=draw(TEXT),
        reason=draw(TEXT),
        usage=draw(st.dictionaries(TEXT, st.integers(0, SAFE), max_size=3)),
        bad_calls=draw(st.integers(0, 9)),
        granted=draw(st.integers(0, SAFE)),
        restart_of=draw(st.none() | st.text("0123456789abcdef_", max_size=30)),
        closed_at=draw(INSTANTS) if status in ENDED else None,
    )
