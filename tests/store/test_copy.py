"""The whole database moved into another one: every row arrives, and what it is about goes on there."""

from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from copy_kit import TO, NewUrl, Opened, contents
from releases.history import STATUSES, carry_on, revived
from sqlalchemy.orm import Session
from support.clock import NOON
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.model import RunStatus
from orchestrator.domain.plain import exact
from orchestrator.store import database_copy, migrate, outbox, views
from orchestrator.store.database import Database
from orchestrator.store.tables import CallRow, EffectRow, EffectState, table

Row = dict[str, Any]
PAIRS = [
    ("sqlite", "postgresql"),
    ("postgresql", "sqlite"),
    ("sqlite", "sqlite"),
    ("postgresql", "postgresql"),
]
effect_t = table(EffectRow)


def effects(database: Database) -> dict[int, dict[str, Any]]:
    with database.engine.connect() as conn:
        return {r["id"]: dict(r) for r in conn.execute(sa.select(effect_t)).mappings()}


@pytest.mark.parametrize(("kind", "to"), PAIRS)
def test_every_row_arrives_and_the_source_stays_as_it_was(
    kind: str, to: str, new_url: NewUrl, opened: Opened
) -> None:
    source, target = opened.full(new_url(kind)), opened(new_url(to))
    before, claimed = contents(source), effects(source)
    copied = database_copy.copy(source, target, now=NOON, batch=7)
    migrate.require_current(target.engine)
    assert contents(source) == before
    assert {c.table: c for c in copied.tables} == before
    found = contents(target)
    assert {n: c for n, c in found.items() if n != "effect"} == {
        n: c for n, c in before.items() if n != "effect"
    }
    held = {n for n, e in claimed.items() if e["state"] is EffectState.CLAIMED}
    assert copied.released == len(held) == 3
    free = {"state": EffectState.PENDING, "claim": None, "lease_until": None, "due_at": NOON}
    assert effects(target) == {n: {**e, **free} if n in held else e for n, e in claimed.items()}


def test_every_table_there_is_goes_there_and_back_to_the_last_bit(new_url: NewUrl, opened: Opened) -> None:
    first, second, third = (opened(new_url(kind)) for kind in ("sqlite", "postgresql", "sqlite"))
    migrate.upgrade(first.engine)
    made: dict[str, list[Row]] = {}
    with first.engine.begin() as conn:
        for t in migrate.TABLES:
            made[t.name] = [odd_row(t, number, made) for number in (1, 2)]
            conn.execute(t.insert(), made[t.name])
    database_copy.copy(first, second, now=NOON)
    database_copy.copy(second, third, now=NOON)
    for database in (first, second, third):
        with database.engine.connect() as conn:
            for t in migrate.TABLES:
                found = [dict(r) for r in conn.execute(sa.select(t).order_by(*t.primary_key)).mappings()]
                assert repr(found) == repr(made[t.name]), (database.url.get_backend_name(), t.name)


def odd_row(t: sa.Table, number: int, made: dict[str, list[Row]]) -> Row:
    """Values at the edge of what their columns hold; the second row is empty wherever it may be."""
    return {c.name: odd_value(c, number, made) for c in t.columns}


def odd_value(c: sa.Column[Any], number: int, made: dict[str, list[Row]]) -> Any:
    for key in c.foreign_keys:
        return made[key.column.table.name][number - 1][key.column.name]
    if c.nullable and number == 2:
        return None
    match c.type.impl if isinstance(c.type, sa.TypeDecorator) else c.type:
        case sa.Enum(enum_class=kind) if kind is not None:
            return next(k for k in kind if k != EffectState.CLAIMED)
        case sa.JSON():
            return ODD_JSON
        case sa.DateTime():
            return datetime(2026, 3, 29, 1, 30, 0, number, tzinfo=UTC)
        case sa.LargeBinary():
            return bytes(range(256)) * number
        case sa.Boolean():
            return number == 1
        case sa.BigInteger() if c is not effect_t.c.id:  # the next one has room there
            return 2**63 - number
        case sa.Integer():
            return number if c is effect_t.c.id else 2**31 - number
        case sa.String(length=length):
            text = f"{number} ✓ 'ä\u2028\u202e\x7f\x01\\ \U0001f600\ufffe %s $1 :x "
            return (text * 60)[: length or None]
    raise AssertionError(f"{c} is of a type that this test does not know")


ODD_JSON: Any = {
    "": [1e16, -6.02e23, 5e-324, 0.1, 1.0, 0, 2**53, -(2**63), 2**64, 10**40],
    "\u2028\U0001f600": ["\x01\x7f\ufffe", "1e16", '\\"\\u0000', None, True, [], {}],
}


@TO
def test_numbers_of_effects_go_on_after_the_last_one(to: str, new_url: NewUrl, opened: Opened) -> None:
    source, target = opened.full(new_url("sqlite")), opened(new_url(to))
    database_copy.copy(source, target, now=NOON)
    with Session(target.engine) as s, s.begin():
        outbox.add(s, "", [Effect(EffectKind.FETCH_INTERACTION, "i_new", NOON)])
    assert max(effects(target)) > max(effects(source))


@pytest.mark.parametrize(("kind", "to"), PAIRS[:2])
@pytest.mark.asyncio
async def test_every_run_goes_on_in_its_new_place(
    kind: str, to: str, new_url: NewUrl, opened: Opened
) -> None:
    url = new_url(to)
    source, target = opened.full(new_url(kind)), opened(url)
    database_copy.copy(source, target, now=NOON)
    target.close()
    opened.all.remove(target)
    async with await revived(url) as world:
        found = await world.database.read(lambda s: views.runs(s, limit=100).rows)
        of = {row["input"]: row["id"] for row in found}
        assert of.keys() == STATUSES.keys()
        await carry_on(world, of)
        assert await world.database.read(views.live_runs) == 0
        assert world.gemini.violations == world.toolkit.violations == []
        assert of["executing"] not in {e.run_id for e in world.toolkit.ledger}


@pytest.mark.asyncio
async def test_a_run_that_waits_for_a_person_is_decided_after_the_move(
    new_url: NewUrl, opened: Opened
) -> None:
    """What people were shown before is what runs afterwards: its seal holds in the other database."""
    arguments = {
        "order": "A-1042",
        "amount": 12.0,
        "cents": 1250,
        "note": "für Anna ✓",
        "deep": [{"b": 1, "a": 0.1}],
        "far": [1e16, -6.02e23, 1.5e300, 5e-324],
    }
    stories = {"ask": (Plan((("refund", arguments),)), Plan(output="refunded"))}
    old, new = new_url("sqlite"), new_url("postgresql")
    database = opened(old)
    migrate.upgrade(database.engine)
    before = World("", stories=stories, rules={"refund": Rule(Ruling.ASK)}, database=database)
    run_id = await before.start("ask")
    await before.settle()
    (asked,) = await before.open_approvals(run_id)
    target = opened(new)
    copied = database_copy.copy(database, target, now=before.clock())
    assert {c.table: c.rows for c in copied.tables}["approval"] == 1
    after = World("", rules={"refund": Rule(Ruling.ASK)}, database=target)
    after.clock, after.gemini, after.slack, after.toolkit = (
        before.clock,
        before.gemini,
        before.slack,
        before.toolkit,
    )
    after.boot()
    (arrived,) = (await after.run(run_id)).turn.calls
    assert exact(arrived.arguments) == exact(arguments), "a float is a float there too"
    answer = await after.decide(asked, True)
    assert answer.refused is None
    await after.to_the_end(run_id)
    assert (await after.run(run_id)).status is RunStatus.COMPLETED
    assert [(e.tool, e.arguments) for e in after.toolkit.ledger] == [("refund", arguments)]
    assert (await before.run(run_id)).status is RunStatus.WAITING
    await after.check(run_id)


def test_numbers_that_databases_spell_differently_are_the_same_rows(new_url: NewUrl, opened: Opened) -> None:
    source, target = opened.full(new_url("sqlite")), opened(new_url("postgresql"))
    odd = '{"a": 1e16, "b": 1.5e300, "c": -0.0, "d": 1152921504606846976, "e": 1.0, "f": 1e-9, "g": [0.1]}'
    with source.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE event SET data = ?", (odd,))
    database_copy.copy(source, target, now=NOON)
    assert contents(target)["event"] == contents(source)["event"]


@pytest.mark.parametrize(("kind", "to"), PAIRS[:2])
@pytest.mark.parametrize("result", [5.0, 1e17, "5"])
def test_a_result_that_is_no_object_arrives(
    kind: str, to: str, result: Any, new_url: NewUrl, opened: Opened
) -> None:
    source, target = opened.full(new_url(kind)), opened(new_url(to))
    with source.engine.begin() as conn:
        conn.execute(table(CallRow).update().values(result=result))
    database_copy.copy(source, target, now=NOON)
    with target.engine.connect() as conn:
        assert conn.execute(sa.select(table(CallRow).c.result)).scalars().first() == result


def test_other_rows_have_another_checksum(new_url: NewUrl, opened: Opened) -> None:
    database = opened.full(new_url("sqlite"))
    before = contents(database)
    with database.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE turn SET readings = readings + 1 WHERE number = 2")
    after = contents(database)
    assert after["turn"].rows == before["turn"].rows
    assert {n for n in before if before[n] != after[n]} == {"turn"}
