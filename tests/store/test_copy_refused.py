"""The whole database moved into another one, or nothing: where it is refused, nothing is kept."""

import pytest
import sqlalchemy as sa
from copy_kit import TO, NewUrl, Opened, contents
from sqlalchemy.orm import Session
from support.clock import NOON

from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.errors import ConfigError, ConflictError, UnavailableError, UncertainError
from orchestrator.store import database_copy, migrate, outbox
from orchestrator.store.database import Database


def rows_in(database: Database) -> dict[str, int]:
    """Of the tables there are; an empty database has none."""
    names = sa.inspect(database.engine).get_table_names()
    count = sa.select(sa.func.count())
    with database.engine.connect() as conn:
        return {n: conn.execute(count.select_from(sa.table(n))).scalar_one() for n in names}


@TO
def test_a_target_that_holds_rows_is_refused(to: str, new_url: NewUrl, opened: Opened) -> None:
    source, target = opened.full(new_url("sqlite")), opened(new_url(to))
    migrate.upgrade(target.engine)
    with Session(target.engine) as s, s.begin():
        outbox.add(s, "", [Effect(EffectKind.FETCH_INTERACTION, "i_new", NOON)])
    before = contents(target)
    with pytest.raises(ConflictError, match="its table effect holds rows"):
        database_copy.copy(source, target, now=NOON)
    assert contents(target) == before


@TO
def test_tables_of_somebody_else_are_not_taken_for_ours(to: str, new_url: NewUrl, opened: Opened) -> None:
    source, target = opened.full(new_url("sqlite")), opened(new_url(to))
    with target.engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE run (distance INTEGER)")
    with pytest.raises(ConflictError, match="a table run that this program did not make"):
        database_copy.copy(source, target, now=NOON)
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
        database_copy.copy(source, target, now=NOON)
    assert rows_in(target) == before


def test_a_row_the_target_refuses_is_named_and_nothing_is_kept(new_url: NewUrl, opened: Opened) -> None:
    """SQLite takes a NUL within JSON, PostgreSQL does not; the rows before it are in by then."""
    source, target = opened.full(new_url("sqlite")), opened(new_url("postgresql"))
    with source.engine.begin() as conn:
        (call,) = conn.exec_driver_sql("SELECT id FROM call ORDER BY id DESC").first() or ()
        conn.exec_driver_sql("UPDATE call SET arguments = ? WHERE id = ?", ('{"a": "secret\\u0000"}', call))
    with pytest.raises(ConflictError, match=f"row {call} of table call") as refused:
        database_copy.copy(source, target, now=NOON)
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
        database_copy.copy(source, target, now=NOON)
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
        database_copy.copy(source, target, now=NOON)
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
        database_copy.copy(source, target, now=NOON)
    assert rows_in(target)["run"] == 0


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_source_without_our_schema_is_refused(kind: str, new_url: NewUrl, opened: Opened) -> None:
    source, target = opened(new_url(kind)), opened(new_url("sqlite"))
    with pytest.raises(ConfigError, match="db upgrade"):
        database_copy.copy(source, target, now=NOON)
    assert rows_in(target) == {}


@TO
def test_a_newer_target_is_refused(to: str, new_url: NewUrl, opened: Opened) -> None:
    source, target = opened.full(new_url("sqlite")), opened(new_url(to))
    migrate.upgrade(target.engine)
    with target.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="older than the database"):
        database_copy.copy(source, target, now=NOON)


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
        database_copy.copy(source, target, now=NOON, last=end)
    database_copy.copy(source, target, now=NOON)


@pytest.mark.parametrize("whose", ["source", "target"])
def test_tables_that_others_use_are_waited_for_and_then_refused(
    whose: str, new_url: NewUrl, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_copy, "LOCK_SECONDS", 0.05)
    source, target = opened.full(new_url("postgresql")), opened(new_url("postgresql"))
    migrate.upgrade(target.engine)
    with {"source": source, "target": target}[whose].engine.begin() as other:
        other.exec_driver_sql("UPDATE run SET output = 'still running'")
        other.exec_driver_sql("LOCK TABLE run IN ROW EXCLUSIVE MODE")
        with pytest.raises(UnavailableError, match="stop every service"):
            database_copy.copy(source, target, now=NOON)
    assert rows_in(target)["run"] == 0
    database_copy.copy(source, target, now=NOON)
