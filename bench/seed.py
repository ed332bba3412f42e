"""Runs that wait for a person, made by the same steps as real ones, without the wire."""

import asyncio
import secrets
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from orchestrator.domain.events import ApprovalPosted, CreateClaimed, InteractionObserved
from orchestrator.domain.lifecycle import open_run
from orchestrator.domain.model import (
    Actor,
    Assessment,
    FunctionCall,
    Policy,
    Recipe,
    Ruling,
    Snapshot,
    Terms,
)
from orchestrator.engine import step
from orchestrator.store import outbox, runs
from orchestrator.store.database import Database

RECIPE = Recipe(
    "refund", model="gemini-3.8-flash", system_instruction="You handle refunds.", tools=("refund_order",)
)
TERMS = Terms(approvers=("U0ALICE",), channel="C0APPR")
ARGUMENTS = {"order_id": "A-1042", "amount": "89.90", "reason": ""}


async def waiting_runs(database: Database, count: int) -> list[str]:
    """That many runs, each with one approval shown in Slack; returns their interaction ids."""
    ids = [f"v1_{secrets.token_hex(12)}" for _ in range(count)]
    for start in range(0, count, 500):
        await asyncio.gather(*(database.write(_waiting_run, i) for i in ids[start : start + 500]))
    return ids


def _waiting_run(s: Session, interaction: str) -> None:
    now, policy = datetime.now(UTC), Policy()
    opened = open_run(
        f"run_{secrets.token_hex(12)}", RECIPE, "Please refund A-1042.", Actor("api:bench"), now=now
    )
    run = runs.insert(s, opened, now=now)
    outbox.add(s, run.id, [e for e in opened.effects if e.due_at > now])
    step.apply(s, run.id, CreateClaimed(1, 1), policy=policy, now=now)
    runs.remember(s, interaction, run.id, 1, 1)
    call = FunctionCall("c1", "refund_order", ARGUMENTS)
    wish = Assessment("c1", "refund_order", Ruling.ASK, ARGUMENTS, digest="0" * 64, terms=TERMS)
    seen = InteractionObserved(1, 1, Snapshot(interaction, "requires_action", (call,)), (wish,))
    applied = step.apply(s, run.id, seen, policy=policy, now=now)
    approval = applied.run.turn.calls[0].approval
    if approval is None:
        raise RuntimeError("the run does not wait")
    posted = ApprovalPosted(approval.id, "C0APPR", "1795290000.000100")
    step.apply(s, run.id, posted, policy=policy, now=now)
    outbox.drop(s, run.id, [f"request_approval:{approval.id}"])
