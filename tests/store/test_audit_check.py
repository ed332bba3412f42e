"""The tables held against the audit: whoever changes them by hand is found."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from audit_kit import attested, world_on
from support.clock import NOON
from support.databases import sqlite_copy

from orchestrator.store import audit, audit_check, database_copy
from orchestrator.store.database import Database

BY = {"approve": True, "by": {"id": "U0EVE", "name": "", "door": "api"}, "at": "2026-11-21T12:00:00Z"}
FORGED = json.dumps(BY)
YES = json.dumps({"by": BY["by"], "at": BY["at"], "stage": 0})
APPROVE = f"UPDATE approval SET status = 'approved', verdict = '{FORGED}' WHERE status = 'pending'"  # noqa: S608
DIRECT = {
    "a verdict of somebody else": (
        f"UPDATE approval SET verdict = '{FORGED}'",  # noqa: S608
        "the audit says approve by U0",
    ),
    "a verdict that was not there": (APPROVE, "the audit says pending"),
    "a verdict taken back": ("UPDATE approval SET verdict = NULL", "its decision is none"),
    "another status": ("UPDATE approval SET status = 'rejected'", "the audit says approved"),
    "another digest": ("UPDATE approval SET digest = 'e'", "its digest is not the one"),
    "other arguments": ("UPDATE call SET arguments = '{}'", "not those people were asked about"),
    "a start nobody made": ("UPDATE call SET claim = 'abc'", "was started, which the audit does not know"),
    "arguments no hash is agreed on": (
        "UPDATE call SET arguments = '{\"n\": 9007199254740993}'",
        "not those people were asked about",
    ),
    "a call that forgot its question": ("UPDATE call SET approval = NULL, arguments = '{}'", "does not know"),
    "a call taken away": ("DELETE FROM call", "is gone, or does not know"),
    "a yes nobody gave": (f"UPDATE approval SET votes = '[{YES}]'", "a yes by U0EVE"),  # noqa: S608
    "one more who may decide": (
        "UPDATE approval SET terms = json_set(terms, '$.approvers[0]', 'U0EVE')",
        "who may decide it is not",
    ),
    "nobody who may not": (
        "UPDATE approval SET terms = json_set(terms, '$.four_eyes', json('true'))",
        "who may decide it is not",
    ),
    "a later end": ("UPDATE approval SET expires_at = '2031-01-01 00:00:00.000000'", "does not lapse"),
    "more time to start in": (
        "UPDATE approval SET start_by = '2031-01-01 00:00:00.000000'",
        "may not start until when",
    ),
    "a later end of one decided": (
        "UPDATE approval SET expires_at = '2031-01-01 00:00:00.000000' WHERE status = 'approved'",
        "does not lapse",
    ),
    "something it would do": (
        """UPDATE approval SET preview = '{"text": "nothing at all", "trouble": ""}'""",
        "what it would do is not",
    ),
    "somebody else who asked": (
        "UPDATE run SET requester = json_set(requester, '$.id', 'U0EVE')",
        "who asked for its run",
    ),
    "an end that is no instant": ("UPDATE approval SET expires_at = 'noon'", "cannot be read"),
    "a decision of no shape": ("UPDATE approval SET verdict = '[7]'", "cannot be read"),
    "a run taken away": (
        "DELETE FROM run WHERE status = 'completed'",
        "the audit does not say that it was removed",
    ),
    "a question taken away": ("DELETE FROM approval", "is gone, and its run is there"),
    "another outcome": ("UPDATE call SET outcome = 'failed' WHERE outcome IS NOT NULL", "what came of it"),
    "another result": ("UPDATE call SET result = '{}' WHERE outcome IS NOT NULL", "what came of it"),
    "an outcome nobody heard of": (
        "UPDATE call SET outcome = 'succeeded', result = '{}' WHERE outcome IS NULL",
        "the audit does not know that",
    ),
    "an outcome taken back": ("UPDATE call SET outcome = NULL", "what came of it"),
    "a result of no shape": ("UPDATE call SET result = '{' WHERE outcome IS NOT NULL", "cannot be read"),
    "another output": ("UPDATE run SET output = 'all is well' WHERE status = 'completed'", "its end is not"),
    "another end": ("UPDATE run SET status = 'failed' WHERE status = 'completed'", "which says completed"),
    "an end taken back": ("UPDATE run SET status = 'running' WHERE status = 'completed'", "its end is not"),
    "an end nobody heard of": (
        "UPDATE run SET status = 'cancelled' WHERE status = 'waiting'",
        "does not know that it ended",
    ),
    "another request": ("UPDATE run SET input = 'refund all of them'", "what was asked for"),
    "another call asked about": (
        "UPDATE approval SET \"call\" = 'call_other' WHERE status = 'approved'",
        "is not about the call",
    ),
    "an audit without the decision": (
        "UPDATE audit SET kind = 'voted' WHERE kind = 'decided'",
        "nobody had approved just that",
    ),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one run that ended after an approval, and one that waits."""
    path = tmp_path_factory.mktemp("audit") / "told.db"

    async def tell() -> None:
        async with world_on(sqlite_copy(path)) as world:
            first, _ = [await world.start("ask") for _ in range(2)]
            await world.settle()
            (approval,) = await world.open_approvals(first)
            await world.decide(approval, True)
            await world.to_the_end(first)

    asyncio.run(tell())
    return path


@pytest.mark.parametrize("change", DIRECT)
def test_a_direct_change_in_the_tables_is_found(told: Path, scratch: Path, change: str) -> None:
    copy = scratch / "changed.db"
    copy.write_bytes(told.read_bytes())
    database = Database(f"sqlite:///{copy}")
    statement, found = DIRECT[change]
    try:
        assert attested(database) == audit_check.Attested(2, 0, ())
        with closing(sqlite3.connect(copy)) as tool:  # it knows nothing of our foreign keys
            tool.execute(statement)
            tool.commit()
        with database.engine.connect() as conn:
            faults = audit_check.compare(conn).faults
        assert any(found in fault for fault in faults), faults
    finally:
        database.close()


def test_an_entry_that_cannot_be_read_is_found(told: Path, scratch: Path) -> None:
    copy = scratch / "garbage.db"
    copy.write_bytes(told.read_bytes())
    with closing(sqlite3.connect(copy)) as tool:
        tool.execute("UPDATE audit SET at = 'noon' WHERE seq = 5")
        tool.commit()
    database = Database(f"sqlite:///{copy}")
    try:
        with database.engine.connect() as conn:
            broken = audit_check.walk(conn, batch=2).broken
        assert broken is not None
        assert broken.seq == 5
    finally:
        database.close()


def test_what_is_older_than_the_audit_is_no_fault(told: Path, scratch: Path) -> None:
    copy = scratch / "older.db"
    copy.write_bytes(told.read_bytes())
    database = Database(f"sqlite:///{copy}")
    try:
        with database.engine.begin() as conn:
            conn.execute(sa.delete(audit.audit_t))
        assert attested(database) == audit_check.Attested(2, 2, ())
    finally:
        database.close()


def test_a_move_keeps_the_chain(told: Path, scratch: Path) -> None:
    moved = scratch / "source.db"
    moved.write_bytes(told.read_bytes())
    source, target = Database(f"sqlite:///{moved}"), Database(f"sqlite:///{scratch / 'target.db'}")
    try:
        database_copy.copy(source, target, now=NOON)
        with source.engine.connect() as here, target.engine.connect() as there:
            head = audit_check.walk(here).head
            assert audit_check.walk(there, head, batch=3).head == head
        assert attested(target) == audit_check.Attested(2, 0, ())
    finally:
        source.close()
        target.close()
