"""The whole database moved into another one: all of it, or nothing."""

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from releases.history import STATUSES, carry_on, revived
from releases.kept import RELEASES, restore
from sqlalchemy.orm import Session
from support.clock import NOON
from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.domain.model import RunStatus
from orchestrator.domain.plain import exact
from orchestrator.errors import ConfigError, ConflictError, UnavailableError, UncertainError
from orchestrator.store import copying, migrate, outbox, views
from orchestrator.store.database import Database
from orchestrator.store.tables import CallRow, EffectRow, EffectState, table

NewUrl = Callable[[str], str]
Row = dict[str, Any]
PAIRS = [
    ("sqlite", "postgresql"),
    ("postgresql", "sqlite"),
    ("sqlite", "sqlite"),
    ("postgresql", "postgresql"),
]
TO = pytest.mark.parametrize("to", ["sqlite", "postgresql"])
effect_t = table(EffectRow)


@pytest.fixture
def new_url(scratch: Path, postgres_server: sa.URL) -> Iterator[NewUrl]:
    """Makes empty databases of either kind."""
    plain = postgres_server.set(drivername="postgresql").render_as_string(hide_password=False)
    made: list[str] = []
    with psycopg.connect(plain, autocommit=True) as server:

        def make(backend: str) -> str:
            name = f"copy_{secrets.token_hex(6)}"
            if backend == "sqlite":
                return f"sqlite:///{scratch}/{name}.db"
            server.execute(f"CREATE DATABASE {name}".encode())
            made.append(name)
            return postgres_server.set(database=name).render_as_string(hide_password=False)

        yield make
        for name in made:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


class Opened:
    """Databases that are closed at the end."""

    def __init__(self) -> None:
        self.all: list[Database] = []

    def __call__(self, url: str) -> Database:
        self.all.append(Database(url))
        return self.all[-1]

    def full(self, url: str) -> Database:
        """With a run in every state."""
        restore(RELEASES[-1], url)
        database = self(url)
        migrate.upgrade(database.engine)
        return database


@pytest.fixture
def opened() -> Iterator[Opened]:
    databases = Opened()
    yield databases
    for database in databases.all:
        database.close()


def contents(database: Database) -> dict[str, copying.Content]:
    with database.engine.connect() as conn:
        return {t.name: copying.content(conn, t) for t in migrate.TABLES}


def rows_in(database: Database) -> dict[str, int]:
    """Of the tables there are; an empty database has none."""
    names = sa.inspect(database.engine).get_table_names()
    count = sa.select(sa.func.count())
    with database.engine.connect() as conn:
        return {n: conn.execute(count.select_from(sa.table(n))).scalar_one() for n in names}


def effects(database: Database) -> dict[int, dict[str, Any]]:
    with database.engine.connect() as conn:
        return {r["id"]: dict(r) for r in conn.execute(sa.select(effect_t)).mappings()}


@pytest.mark.parametrize(("kind", "to"), PAIRS)
def test_every_row_arrives_and_the_source_stays_as_it_was(
    kind: str, to: str, new_url: NewUrl, opened: Opened
) -> None:
    source, target = opened.full(new_url(kind)), opened(new_url(to))
    before, claimed = contents(source), effects(source)
    copied = copying.copy(source, target, now=NOON, batch=7)
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
    copying.copy(first, second, now=NOON)
    copying.copy(second, third, now=NOON)
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
    copying.copy(source, target, now=NOON)
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
    copying.copy(source, target, now=NOON)
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
    copied = copying.copy(database, target, now=before.clock())
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


@TO
def test_a_target_that_holds_rows_is_refused(to: str, new_url: NewUrl, opened: Opened) -> None:
    source, target = opened.full(new_url("sqlite")), opened(new_url(to))
    migrate.upgrade(target.engine)
    with Session(target.engine) as s, s.begin():
        outbox.add(s, "", [Effect(EffectKind.FETCH_INTERACTION, "i_new", NOON)])
    before = contents(target)
    with pytest.raises(ConflictError, match="its table effect holds rows"):
        copying.copy(source, target, now=NOON)
    assert contents(target) == before


@TO
def test_tables_of_somebody_else_are_not_taken_for_ours(to: str, new_url: NewUrl, opened: Opened) -> None:
    source, target = opened.full(new_url("sqlite")), opened(new_url(to))
    with target.engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE run (distance INTEGER)")
    with pytest.raises(ConflictError, match="a table run that this program did not make"):
        copying.copy(source, target, now=NOON)
    assert rows_in(target) == {"run": 0}


@TO
@pytest.mark.parametrize("ours", [False, True], ids=["bare", "with our schema"])
def test_a_target_with_tables_of_others_is_refused_by_name(
    to: str, ours: bool, new_url: NewUrl, opened: Opened
) -> None:
    """Whoever names such a database has most likely taken the wrong one."""
    source, target = opened.full(new_url("sqlite")), opened(new_url(to))
    if ours:
        migrate.upgrade(target.engine)
    with target.engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE customers (id INTEGER)")
    before = rows_in(target)
    with pytest.raises(ConflictError, match="a table customers that is not ours"):
        copying.copy(source, target, now=NOON)
    assert rows_in(target) == before


def test_a_row_the_target_refuses_is_named_and_nothing_is_kept(new_url: NewUrl, opened: Opened) -> None:
    """SQLite takes a NUL within JSON, PostgreSQL does not; the rows before it are in by then."""
    source, target = opened.full(new_url("sqlite")), opened(new_url("postgresql"))
    with source.engine.begin() as conn:
        (call,) = conn.exec_driver_sql("SELECT id FROM call ORDER BY id DESC").first() or ()
        conn.exec_driver_sql("UPDATE call SET arguments = ? WHERE id = ?", ('{"a": "secret\\u0000"}', call))
    with pytest.raises(ConflictError, match=f"row {call} of table call") as refused:
        copying.copy(source, target, now=NOON)
    assert "secret" not in str(refused.value)
    assert rows_in(target) == {}, "the schema is gone too"


@pytest.mark.parametrize(
    ("column", "text"), [("recipe", '{"secret'), ("created_at", "secret"), ("status", "secret")]
)
def test_a_row_nobody_can_read_is_told_by_its_table(
    column: str, text: str, new_url: NewUrl, opened: Opened
) -> None:
    source, target = opened.full(new_url("sqlite")), opened(new_url("sqlite"))
    with source.engine.begin() as conn:
        conn.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
        conn.execute(sa.update(sa.table("run", sa.column(column))).values({column: text}))
    with pytest.raises(ConflictError, match="table run holds a row that") as refused:
        copying.copy(source, target, now=NOON)
    assert "secret" not in str(refused.value)
    assert rows_in(target) == {}


@TO
def test_rows_that_arrive_changed_are_noticed_and_nothing_is_kept(
    to: str, new_url: NewUrl, opened: Opened
) -> None:
    source, target = opened.full(new_url("sqlite")), opened(new_url(to))
    migrate.upgrade(target.engine)
    with target.engine.begin() as conn:
        for statement in FALSIFIER[to]:
            conn.exec_driver_sql(statement)
    with pytest.raises(ConflictError, match="table run is not the same"):
        copying.copy(source, target, now=NOON)
    assert {n: rows for n, rows in rows_in(target).items() if rows} == {"alembic_version": 1}


FALSIFIER = {
    "sqlite": [
        "CREATE TRIGGER lie AFTER INSERT ON run WHEN new.input = 'waiting' BEGIN"
        " UPDATE run SET output = 'never said' WHERE id = new.id; END"
    ],
    "postgresql": [
        "CREATE FUNCTION lie() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF new.input = 'waiting' THEN new.output := 'never said'; END IF; RETURN new; END $$",
        "CREATE TRIGGER lie BEFORE INSERT ON run FOR EACH ROW EXECUTE FUNCTION lie()",
    ],
}


def test_rows_that_do_not_arrive_are_noticed(new_url: NewUrl, opened: Opened) -> None:
    source, target = opened.full(new_url("sqlite")), opened(new_url("postgresql"))
    migrate.upgrade(target.engine)
    with target.engine.begin() as conn:
        conn.exec_driver_sql("CREATE RULE swallow AS ON INSERT TO event DO INSTEAD NOTHING")
    with pytest.raises(ConflictError, match="table event is not the same"):
        copying.copy(source, target, now=NOON)
    assert rows_in(target)["run"] == 0


def test_numbers_that_databases_spell_differently_are_the_same_rows(new_url: NewUrl, opened: Opened) -> None:
    source, target = opened.full(new_url("sqlite")), opened(new_url("postgresql"))
    odd = '{"a": 1e16, "b": 1.5e300, "c": -0.0, "d": 1152921504606846976, "e": 1.0, "f": 1e-9, "g": [0.1]}'
    with source.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE event SET data = ?", (odd,))
    copying.copy(source, target, now=NOON)
    assert contents(target)["event"] == contents(source)["event"]


@pytest.mark.parametrize(("kind", "to"), PAIRS[:2])
@pytest.mark.parametrize("result", [5.0, 1e17, "5"])
def test_a_result_that_is_no_object_arrives(
    kind: str, to: str, result: Any, new_url: NewUrl, opened: Opened
) -> None:
    source, target = opened.full(new_url(kind)), opened(new_url(to))
    with source.engine.begin() as conn:
        conn.execute(table(CallRow).update().values(result=result))
    copying.copy(source, target, now=NOON)
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


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_source_without_our_schema_is_refused(kind: str, new_url: NewUrl, opened: Opened) -> None:
    source, target = opened(new_url(kind)), opened(new_url("sqlite"))
    with pytest.raises(ConfigError, match="db upgrade"):
        copying.copy(source, target, now=NOON)
    assert rows_in(target) == {}


@TO
def test_a_newer_target_is_refused(to: str, new_url: NewUrl, opened: Opened) -> None:
    source, target = opened.full(new_url("sqlite")), opened(new_url(to))
    migrate.upgrade(target.engine)
    with target.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="older than the database"):
        copying.copy(source, target, now=NOON)


def test_a_target_that_is_gone_at_the_last_word_is_not_said_to_be_empty(
    new_url: NewUrl, opened: Opened
) -> None:
    source, target = opened.full(new_url("sqlite")), opened(new_url("postgresql"))

    def end() -> None:
        with target.engine.begin() as conn:
            conn.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )

    with pytest.raises(UncertainError, match="everything or nothing"):
        copying.copy(source, target, now=NOON, last=end)
    copying.copy(source, target, now=NOON)


@pytest.mark.parametrize("whose", ["source", "target"])
def test_tables_that_others_use_are_waited_for_and_then_refused(
    whose: str, new_url: NewUrl, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "LOCK_SECONDS", 0.05)
    source, target = opened.full(new_url("postgresql")), opened(new_url("postgresql"))
    migrate.upgrade(target.engine)
    with {"source": source, "target": target}[whose].engine.begin() as other:
        other.exec_driver_sql("UPDATE run SET output = 'still running'")
        other.exec_driver_sql("LOCK TABLE run IN ROW EXCLUSIVE MODE")
        with pytest.raises(UnavailableError, match="stop every service"):
            copying.copy(source, target, now=NOON)
    assert rows_in(target)["run"] == 0
    copying.copy(source, target, now=NOON)
