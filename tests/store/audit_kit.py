"""A run with a secret in it, and the audit of what became of it."""

from typing import Any

import pytest
from sqlalchemy.orm import Session
from support.clock import NOON
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.evidence import Entry, EntryKind, Sealed
from orchestrator.store import audit, audit_check
from orchestrator.store.database import Database

SECRET = "sk_live_4711"
WORDS = 'she\ncalled 🙂 "me"\x01\x7f'
STORIES = {"ask": (Plan((("refund", {"card": SECRET}),)), Plan(output="done"))}
ON_POSTGRESQL = pytest.mark.parametrize("new_database_url", ["postgresql"], indirect=True)
Row = dict[str, Any]


def world_on(url: str) -> World:
    return World(url, stories=STORIES, rules={"refund": Rule(Ruling.ASK)})


def noted(s: Session, name: str, count: int = 1) -> None:
    facts = {"input_sha256": Sealed(name)}
    audit.note(s, [Entry(EntryKind.RUN_OPENED, f"{name}_{n}", facts) for n in range(count)], NOON)


async def all_entries(database: Database) -> list[Row]:
    return await database.read(audit.entries, limit=10_000)


def attested(database: Database) -> audit_check.Attested:
    with database.engine.connect() as conn:
        assert audit_check.walk(conn).broken is None
        return audit_check.compare(conn, batch=2)
