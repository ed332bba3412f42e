"""Runs made by the same steps as real ones, without the wire; and very many of them, as copies of one.

Copies are made by the database, some ten thousand a second. Each has ids and times of its own.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from orchestrator.domain.assessment import Assessment, Ruling
from orchestrator.domain.consent import Actor, Terms
from orchestrator.domain.decision import Decision
from orchestrator.domain.events import (
    ApprovalPosted,
    CancelRequested,
    CreateClaimed,
    CreateRefused,
    Event,
    InteractionObserved,
)
from orchestrator.domain.exchange import FunctionCall, Snapshot
from orchestrator.domain.lifecycle import open_run
from orchestrator.domain.model import Policy, Recipe, Run
from orchestrator.engine import step, webhooks
from orchestrator.store import claims, inbox, interactions, migrate, outbox, run_rows, runs
from orchestrator.store.database import Database
from orchestrator.store.sql import standstill

RECIPE = Recipe(
    "refund", model="gemini-3.8-flash", system_instruction="You handle refunds.", tools=("refund_order",)
)
RARE = Recipe("support", model="gemini-3.8-flash", system_instruction="You answer customers.")
TERMS = Terms(approvers=("U0ALICE",), channel="C0APPR")
ARGUMENTS = {"order_id": "A-1042", "amount": "89.90", "reason": ""}
ALICE = Actor("api:bench")
POLICY = Policy(watch_every=timedelta(days=1))
"""A live run is not looked at by itself while we measure."""

CHUNK: Final = 20_000
"""Copies in one transaction."""
APART: Final = 0.1
"""Seconds between two copies' times: a million reach back over a day, well within what is kept."""
SPREAD: Final = 2654435761
"""Odd, so i ↦ i·SPREAD mod 2³² meets no number twice: ids come in no order, as real ones do."""

Make = Callable[[Session, str], None]
"""Makes one run whose first interaction has that id."""


async def waiting_runs(database: Database, count: int) -> list[str]:
    """That many runs, each with one approval shown in Slack; returns their interaction ids."""
    ids = [fresh() for _ in range(count)]
    for start in range(0, count, 500):
        await asyncio.gather(*(database.write(waiting, i) for i in ids[start : start + 500]))
    return ids


async def copied(database: Database, make: Make, count: int) -> list[str]:
    """One run made by its steps and all others copied from it; returns their interaction ids.

    The id of a copy's call is not derived from its run any more: such a run is there to lie and be
    looked at, not to go on.
    """
    first = fresh()
    if count < 1:
        return []
    await database.write(make, first)
    await asyncio.to_thread(_copy, database.engine, first, count - 1)
    return [first, *(f"v1_{_tag(i)}{first[11:]}" for i in range(1, count))]


def fresh() -> str:
    """An interaction id nobody had."""
    return f"v1_{secrets.token_hex(12)}"


def waiting(s: Session, interaction: str) -> None:
    """It waits for a person; the question is shown."""
    run, now = _live(s, interaction)
    call = FunctionCall("c1", "refund_order", ARGUMENTS)
    wish = Assessment("c1", "refund_order", Ruling.ASK, ARGUMENTS, digest="0" * 64, terms=TERMS)
    seen = InteractionObserved(1, 1, Snapshot(interaction, "requires_action", (call,)), (wish,))
    applied = step.apply(s, run.id, seen, policy=POLICY, now=now)
    approval = applied.run.turn.calls[0].approval
    if approval is None:
        raise RuntimeError("the run does not wait")
    _did(s, run.id, ApprovalPosted(approval.id, "C0APPR", "1795290000.000100"), now)


def live(s: Session, interaction: str) -> None:
    """Gemini works on it, and was read once."""
    _live(s, interaction)


def completed(s: Session, interaction: str) -> None:
    """A webhook told that Gemini was done; the record is closed."""
    run, now = _live(s, interaction)
    _hear(s, interaction, now)
    done = InteractionObserved(1, 1, Snapshot(interaction, "completed", output="Done.", usage={"total": 10}))
    _did(s, run.id, done, now)


def stopped(s: Session, interaction: str) -> None:
    """It waited for a person and was cancelled instead."""
    waiting(s, interaction)
    run = runs.load(s, str((interactions.owner_of(s, interaction) or [""])[0]))
    _did(s, run.id, CancelRequested(ALICE), datetime.now(UTC))


def refused(s: Session, interaction: str) -> None:
    """The rare one: of another workflow, and failed."""
    run, now = _opened(s, RARE)
    _did(s, run.id, CreateClaimed(1, 1), now)
    _did(s, run.id, CreateRefused(1, 1, "no such model"), now)
    interactions.remember(s, interaction, run.id, 1, 1)


def _opened(s: Session, recipe: Recipe) -> tuple[Run, datetime]:
    now = datetime.now(UTC)
    opened: Decision = open_run(
        f"run_{secrets.token_hex(12)}", recipe, "Please refund A-1042.", ALICE, now=now
    )
    run = runs.insert(s, opened, now=now)
    outbox.add(s, run.id, opened.effects)
    return run, now


def _live(s: Session, interaction: str) -> tuple[Run, datetime]:
    run, now = _opened(s, RECIPE)
    _did(s, run.id, CreateClaimed(1, 1), now)
    interactions.remember(s, interaction, run.id, 1, 1)
    _did(s, run.id, InteractionObserved(1, 1, Snapshot(interaction, "in_progress")), now)
    return run, now


def _hear(s: Session, interaction: str, now: datetime) -> None:
    kind, webhook = "interaction.completed", f"msg_{secrets.token_hex(12)}"
    body = (
        b'{"type": "interaction.completed", "version": "v1", "data": {"id": "' + interaction.encode() + b'"}}'
    )
    inbox.put(s, [inbox.Arrived(webhook, kind, interaction, int(now.timestamp()), body, now)])
    webhooks.hear(s, [inbox.Waiting(webhook, kind, interaction)], policy=POLICY, now=now)


def _did(s: Session, run_id: str, event: Event, now: datetime) -> None:
    """The step, and all that was due is done."""
    step.apply(s, run_id, event, policy=POLICY, now=now)
    for asked in outbox.ripe(s, run_id, now):
        effect = claims.claim(s, (run_id, asked.key), now, claims.Hold.at(now, timedelta(minutes=1)))
        if effect is not None:
            claims.done(s, effect)


def _copy(engine: sa.Engine, interaction: str, count: int) -> None:
    with engine.begin() as conn:
        known = run_rows.interaction_t.c
        run_id = conn.execute(sa.select(known.run_id).where(known.id == interaction)).scalar_one()
        rows = [
            (t, dict(row))
            for t in migrate.TABLES
            if (of_it := _of(t, run_id)) is not None
            for row in conn.execute(sa.select(t).where(of_it)).mappings()
        ]
    ids = [row["id"] for _, row in rows if isinstance(row.get("id"), str)]
    told = sum(t.name == "audit" for t, _ in rows)
    for start in range(1, count + 1, CHUNK):
        with engine.begin() as conn:
            standstill.unhurried(conn)
            for t, row in rows:
                numbers = _series(start, min(start + CHUNK - 1, count))
                conn.execute(_insert(t, row, ids, numbers, engine.dialect.name, told))


def _of(t: sa.Table, run_id: str) -> sa.ColumnElement[bool] | None:
    """What of a table belongs to that run; None of one that knows of no run."""
    if t.name == "run" or "run_id" in t.c:
        mine: sa.ColumnElement[bool] = (t.c.id if t.name == "run" else t.c.run_id) == run_id
        return mine
    if "approval" in t.c:
        asked = sa.select(run_rows.approval_t.c.id).where(run_rows.approval_t.c.run_id == run_id)
        return t.c.approval.in_(asked)
    return None


def _series(first: int, last: int) -> sa.CTE:
    series = sa.select(sa.literal(first).label("i")).cte("series", recursive=True)
    return series.union_all(sa.select(series.c.i + 1).where(series.c.i < last))


def _insert(
    t: sa.Table, row: Mapping[str, Any], ids: Sequence[str], series: sa.CTE, dialect: str, told: int
) -> sa.Insert:
    """`told`: how many entries of the audit one copy has; they are numbered on, their hashes bind nothing."""
    names = [c.name for c in t.c if not (c.name == "id" and isinstance(row["id"], int))]
    values = [_value(t.c[n], row[n], ids, series.c.i, dialect) for n in names]
    if t.name == "audit":
        values[names.index("seq")] = sa.literal(row["seq"]) + series.c.i * told
    return t.insert().from_select(names, sa.select(*values).select_from(series))


def _value(column: Any, value: Any, ids: Sequence[str], i: Any, dialect: str) -> Any:
    """The same, but for ids, which get eight other characters, and times, which lie `APART`."""
    if isinstance(value, datetime):
        return _earlier(value, i, dialect)
    named = next((n for n in ids if isinstance(value, str) and n in value), None)
    if named is None:
        return sa.null() if value is None else sa.literal(value, column.type)
    cut = value.index(named) + named.index("_") + 1
    return sa.literal(value[:cut]) + _sql_tag(i, dialect) + sa.literal(value[cut + 8 :])


def _tag(i: int) -> str:
    return f"{i * SPREAD % 2**32:08x}"


def _sql_tag(i: Any, dialect: str) -> Any:
    number = sa.cast(i, sa.BigInteger) * sa.literal_column(str(SPREAD)) % sa.literal_column(str(2**32))
    if dialect == "sqlite":
        return sa.func.printf("%08x", number, type_=sa.String)
    return sa.func.lpad(sa.func.to_hex(number), 8, "0", type_=sa.String)


def _earlier(value: datetime, i: Any, dialect: str) -> Any:
    if dialect == "sqlite":
        plain = sa.literal(value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"))
        back = sa.func.printf("-%.1f seconds", i * sa.literal_column(str(APART)))
        return sa.func.strftime("%Y-%m-%d %H:%M:%f000", plain, back)
    back = sa.func.make_interval(0, 0, 0, 0, 0, 0, sa.cast(i, sa.Float) * APART)
    return sa.literal(value, sa.DateTime(timezone=True)) - back
