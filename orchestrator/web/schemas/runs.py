"""Runs: in a list, one of them, and one with its turns and calls.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from orchestrator.domain import jobreports
from orchestrator.domain.jobs import Job
from orchestrator.domain.model import CallStatus, RunStatus, TurnStatus
from orchestrator.store.run_rows import raises_unreadable
from orchestrator.web.schemas.calls import CallOut
from orchestrator.web.schemas.ground import ActorOut, Links, Row, actor_out, run_path, whole_text
from orchestrator.web.schemas.steps import StepOut, StepState, step_out, step_states


class RunSummary(Struct, kw_only=True):
    id: str
    workflow: str
    status: RunStatus
    reason: str
    requester: ActorOut
    turn: int
    created_at: datetime
    updated_at: datetime
    deadline: datetime
    closed_at: datetime | None
    links: Links


class Progress(Struct, kw_only=True):
    """Of the newest turn: its function calls, those that wait for a person, those that are settled.

    `jobs` is how far the long jobs are that they wait for, in words; `left_seconds` about how long those
    will take, once a few have ended.
    """

    calls: int
    undecided: int
    settled: int
    jobs: str
    left_seconds: float | None


class SourceOut(Struct, kw_only=True):
    """A page that a text cites, as the model named it."""

    url: str
    title: str


class RunOut(RunSummary, kw_only=True):
    """`output` is what the run came to; while it lives, what there is of an answer that was cut.

    `usage` sums token counts over all turns; `granted` is where people last let it go on beyond its limit.

    `restart_of` is the run whose work this one takes up. `step` is null for a workflow without steps;
    `outputs` are what its steps so far came to, by name, `sources` the pages its model's texts cite.
    """

    input: str
    output: str
    usage: dict[str, int]
    bad_calls: int
    granted: int
    restart_of: str | None
    step: StepOut | None
    outputs: dict[str, Any]
    sources: list[SourceOut]


class TurnOut(Struct, kw_only=True):
    number: int
    attempt: int
    status: TurnStatus
    interaction_id: str | None
    previous_id: str | None
    gemini_status: str
    sent_at: datetime | None
    forgotten_at: datetime | None
    said: str
    note: str
    planning: bool | None
    environment: str | None


class RunDetail(RunOut, kw_only=True):
    progress: Progress
    steps: list[StepState]
    turns: list[TurnOut]
    calls: list[CallOut]


class RunPage(Struct, kw_only=True):
    """Newest first; `next` is the cursor of the next page."""

    items: list[RunSummary]
    next: str | None


@raises_unreadable("its own row:", run="id")
def run_summary(row: Row) -> RunSummary:
    return RunSummary(**_summary(row))


@raises_unreadable("its own row:", run="id")
def run_out(row: Row) -> RunOut:
    return RunOut(**_whole(row))


@raises_unreadable("its own row:", run="id")
def run_detail(
    row: Row, turns: list[TurnOut], calls: list[CallOut], jobs: Mapping[str, Sequence[Job]]
) -> RunDetail:
    """A run with all of its chain; `jobs` are those of its calls, by call."""
    progress = _progress(row["turn"], calls, jobs)
    return RunDetail(**_whole(row), progress=progress, steps=step_states(row), turns=turns, calls=calls)


def turn_out(row: Row) -> TurnOut:
    return TurnOut(**{k: row[k] for k in TurnOut.__struct_fields__})


def _progress(turn: int, calls: list[CallOut], jobs: Mapping[str, Sequence[Job]]) -> Progress:
    newest = [c for c in calls if c.turn == turn]
    undecided = sum(1 for c in newest if c.status is CallStatus.AWAITING_APPROVAL)
    settled = sum(1 for c in newest if c.status is CallStatus.SETTLED)
    made = [job for call in newest for job in jobs.get(call.id, ())]
    left = jobreports.left(made)
    return Progress(
        calls=len(newest),
        undecided=undecided,
        settled=settled,
        jobs=jobreports.counted(made),
        left_seconds=left.total_seconds() if left else None,
    )


def _summary(row: Row) -> dict[str, Any]:
    own = run_path(row["id"])
    parts = ("events", "calls", "jobs", "approvals", "cancel", "resolve", "restart")
    links = {"self": own, **{part: f"{own}/{part}" for part in parts}}
    same = ("id", "workflow", "status", "reason", "turn", "created_at", "deadline", "closed_at")
    changed = (
        row["closed_at"] or row["updated_at"]
    )  # what a closed run refuses is put on record, and changes nothing
    return {
        **{k: row[k] for k in same},
        "updated_at": changed,
        "requester": actor_out(row["requester"]),
        "links": links,
    }


def _whole(row: Row) -> dict[str, Any]:
    more = {k: row[k] for k in ("input", "output", "usage", "bad_calls", "granted", "restart_of")}
    cited = [msgspec.convert(whole_text(source), SourceOut) for source in row["sources"] or ()]
    return {
        **_summary(row),
        **more,
        "step": step_out(row),
        "outputs": whole_text(row["outputs"]),
        "sources": cited,
    }
