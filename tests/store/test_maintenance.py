"""Backups that are whole, files that are sound, space that is given back."""

import os
import shlex
import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from releases.kept import RELEASES, restore
from support.clock import NOON

from orchestrator.errors import ConfigError, ConflictError, UnavailableError
from orchestrator.store import database_copy, inbox, maintenance, migrate
from orchestrator.store.database import Database
from orchestrator.store.tables import DeliveryRow, table

PAGE = 4096
delivery_t = table(DeliveryRow)


def contents(engine: sa.Engine) -> list[database_copy.Content]:
    with engine.connect() as conn:
        return [database_copy.content(conn, t) for t in migrate.TABLES]


def contents_of(file: Path) -> list[database_copy.Content]:
    with maintenance.reading(sa.make_url(f"sqlite:///{file}")) as engine:
        return contents(engine)


@pytest.fixture
def used(scratch: Path) -> Iterator[Database]:
    """A SQLite database with all kinds of rows, open as in a running service."""
    url = f"sqlite:///{scratch}/used.db"
    restore(RELEASES[-1], url)
    database = Database(url)
    migrate.upgrade(database.engine)
    yield database
    database.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "backups" / "copy.db"


@pytest.fixture(autouse=True)
def _folder(target: Path) -> None:
    target.parent.mkdir()


def file(database: Database) -> Path:
    return Path(str(database.url.database))


def arrive(s: Any, number: int) -> None:
    body = os.urandom(2000)
    inbox.put(s, [inbox.Arrived(f"wh_{number}", "interaction.completed", "i1", 1, body, NOON)])


# ---------------------------------------------------------------------- backup


def test_a_backup_holds_every_row_in_one_private_file(used: Database, target: Path) -> None:
    made = maintenance.backup(used.url, target)
    assert (made.path, made.size, made.schema) == (target, target.stat().st_size, migrate.head())
    assert made.runs == 17
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(target.parent.iterdir()) == [target], "nothing lies beside it"
    # "read version" and "write version" of SQLite's file format: 1 needs no log beside it, 2 does
    assert target.read_bytes()[18:20] == b"\x01\x01"
    assert contents_of(target) == contents(used.engine)
    again = Database(f"sqlite:///{target}")  # as a service would open it
    assert maintenance.faults(again.engine) == []
    again.close()


def test_a_backup_is_of_one_moment_while_the_service_writes(used: Database, target: Path) -> None:
    """Each transaction counts a run up and keeps a webhook: a copy has both or neither."""
    stop = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            with used.engine.begin() as conn:
                conn.exec_driver_sql("UPDATE run SET bad_calls = bad_calls + 1")
                conn.exec_driver_sql("UPDATE delivery SET duplicates = duplicates + 1")
            written += 1

    with used.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE run SET bad_calls = 0")
        conn.exec_driver_sql("UPDATE delivery SET duplicates = 0")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            seen = written
            maintenance.backup(used.url, target, force=True)
            with closing(sqlite3.connect(target)) as conn:
                counts = set(conn.execute("SELECT bad_calls FROM run").fetchall())
                assert counts == set(conn.execute("SELECT duplicates FROM delivery").fetchall())
                assert len(counts) == 1
                assert counts.pop()[0] >= seen, "what was committed before is missing"
    finally:
        stop.set()
        writer.join()
    assert written > 0


def test_what_a_killed_service_left_in_its_log_is_in_the_backup(
    used: Database, target: Path, tmp_path: Path
) -> None:
    with used.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE run SET output = 'only in the log'")
    assert Path(f"{file(used)}-wal").stat().st_size > 0
    left = tmp_path / "left.db"
    for end in ("", "-wal"):
        shutil.copyfile(f"{file(used)}{end}", f"{left}{end}")
    maintenance.backup(sa.make_url(f"sqlite:///{left}"), target)
    assert contents_of(target) == contents(used.engine)


def test_a_backup_before_the_upgrade_is_possible(scratch: Path, target: Path) -> None:
    url = f"sqlite:///{scratch}/old.db"
    restore(RELEASES[0], url)
    assert maintenance.backup(sa.make_url(url), target).schema == RELEASES[0]


def test_what_is_there_is_replaced_only_on_demand(used: Database, target: Path) -> None:
    target.write_text("precious")
    with pytest.raises(ConflictError, match="--force"):
        maintenance.backup(used.url, target)
    assert target.read_text() == "precious"
    maintenance.backup(used.url, target, force=True)
    assert contents_of(target) == contents(used.engine)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(target.parent.iterdir()) == [target]


def test_a_name_taken_meanwhile_is_not_overwritten(used: Database, target: Path) -> None:
    part = target.with_name("part")
    part.write_text("the copy")
    target.write_text("somebody else's")
    with pytest.raises(ConflictError, match="meanwhile"):
        maintenance._place(part, target, force=False)
    assert target.read_text() == "somebody else's"


@pytest.mark.parametrize("end", ["", "-wal", "-shm", ".lock"])
def test_the_database_itself_is_never_the_target(used: Database, end: str) -> None:
    before = contents(used.engine)
    with pytest.raises(ConfigError, match="the database itself"):
        maintenance.backup(used.url, Path(f"{file(used)}{end}"), force=True)
    assert contents(used.engine) == before


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to], ids=["symbolic", "hard"])
def test_a_link_to_the_database_is_never_the_target(used: Database, link: Any) -> None:
    alias = file(used).with_name("alias.db")
    link(alias, file(used))
    with pytest.raises(ConfigError, match="the database itself"):
        maintenance.backup(used.url, alias, force=True)


@pytest.mark.parametrize("end", ["", "-wal", "-shm", ".lock"])
def test_what_belongs_to_a_database_behind_a_link_is_never_the_target(used: Database, end: str) -> None:
    alias = file(used).with_name("alias.db")
    alias.symlink_to(file(used))
    with pytest.raises(ConfigError, match="the database itself"):
        maintenance.backup(sa.make_url(f"sqlite:///{alias}"), Path(f"{file(used)}{end}"), force=True)


@pytest.mark.parametrize("end", ["-wal", "-journal"])
@pytest.mark.parametrize("force", [False, True])
def test_remains_beside_the_target_would_be_played_into_it(
    used: Database, target: Path, end: str, force: bool
) -> None:
    Path(f"{target}{end}").write_bytes(b"of another database")
    with pytest.raises(ConflictError, match="choose another name"):
        maintenance.backup(used.url, target, force=force)
    assert not target.exists()


def test_a_damaged_database_gives_no_backup(used: Database, target: Path) -> None:
    damaged = file(used).with_name("damaged.db")
    maintenance.backup(used.url, damaged)
    tear(damaged, "delivery")
    target.write_text("the last good one")
    with pytest.raises(UnavailableError, match=r"damaged|malformed"):
        maintenance.backup(sa.make_url(f"sqlite:///{damaged}"), target, force=True)
    assert target.read_text() == "the last good one"
    assert list(target.parent.iterdir()) == [target]


def test_places_where_no_file_can_be(used: Database, target: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        maintenance.backup(used.url, target.parent / "none" / "copy.db")
    with pytest.raises(ConfigError, match="is a folder"):
        maintenance.backup(used.url, target.parent)


def test_nothing_to_back_up(scratch: Path, target: Path) -> None:
    missing = scratch / "missing.db"
    with pytest.raises(ConfigError, match="no such file"):
        maintenance.backup(sa.make_url(f"sqlite:///{missing}"), target)
    assert not missing.exists()
    with closing(sqlite3.connect(missing)) as conn:
        conn.execute("CREATE TABLE run (id INTEGER)")
    with pytest.raises(ConfigError, match="no schema of this program"):
        maintenance.backup(sa.make_url(f"sqlite:///{missing}"), target)
    assert not target.exists()


def test_the_command_for_postgresql_tells_no_password() -> None:
    url = sa.make_url("postgresql+psycopg://anna:s3cret@db.example:5433/runs?password=other&sslmode=require")
    command = maintenance.dump_command(url, Path("/backups/of today.dump"))
    assert "s3cret" not in command
    assert "other" not in command
    assert shlex.split(command) == [
        "pg_dump",
        "--format=custom",
        "--file=/backups/of today.dump",
        "--dbname=postgresql://anna@db.example:5433/runs?sslmode=require",
    ]


# ---------------------------------------------------------------------- check


def tear(path: Path, name: str) -> None:
    """Overwrite a page of that table, as a failing disk would."""
    with closing(sqlite3.connect(path)) as conn:
        (page,) = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    with path.open("r+b") as handle:
        handle.seek((page - 1) * PAGE)
        handle.write(b"\xff" * PAGE)


def test_a_sound_database_has_no_faults(database: Database) -> None:
    assert maintenance.faults(database.engine) == []


def test_rows_that_refer_to_nothing_are_told(used: Database) -> None:
    with closing(sqlite3.connect(file(used))) as conn, conn:
        conn.execute("DELETE FROM run WHERE input = 'queued'")  # foreign keys are off by default
    told = maintenance.faults(used.engine)
    assert told
    assert all("refers to a run that is not there" in t for t in told)


def test_a_damaged_page_is_told(used: Database, target: Path) -> None:
    maintenance.backup(used.url, target)
    tear(target, "event")
    with maintenance.reading(sa.make_url(f"sqlite:///{target}")) as engine:
        told = maintenance.faults(engine)
    assert 0 < len(told) <= maintenance.MOST_FAULTS


def test_a_check_reads_beside_the_service_and_cannot_write(used: Database) -> None:
    with maintenance.reading(used.url) as engine:
        assert maintenance.faults(engine) == []
        with pytest.raises(sa.exc.OperationalError, match="readonly"), engine.begin() as conn:
            conn.exec_driver_sql("DELETE FROM run")


@pytest.mark.parametrize("new_database_url", ["postgresql"], indirect=True)
def test_commits_that_do_not_wait_for_the_disk_are_told(database: Database) -> None:
    with database.engine.begin() as conn:
        conn.exec_driver_sql(f"ALTER DATABASE {database.url.database} SET synchronous_commit = off")
    database.engine.dispose()
    assert maintenance.faults(database.engine) == [
        "commits do not wait for the disk (synchronous_commit is off)"
    ]


def test_another_schema_is_no_sound_one(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with pytest.raises(ConfigError, match="not up to date"):
        maintenance.faults(database.engine)
    database.close()


# ---------------------------------------------------------------------- vacuum


@pytest.mark.asyncio
async def test_space_nothing_uses_is_given_back(database: Database) -> None:
    for number in range(500):
        await database.write(arrive, number)
    with database.engine.begin() as conn:
        conn.execute(delivery_t.delete().where(delivery_t.c.id != "wh_7"))
    before = contents(database.engine)
    done = maintenance.vacuum(database)
    assert done.after < done.before * 0.75
    assert contents(database.engine) == before
    assert maintenance.faults(database.engine) == []
    if database.sqlite:
        assert done.after == file(database).stat().st_size, "the log is empty"


def test_a_file_somebody_reads_is_not_vacuumed(used: Database) -> None:
    with used.engine.connect() as conn:
        conn.connection.driver_connection.execute("PRAGMA busy_timeout=10")  # type: ignore[union-attr]
    with maintenance.reading(used.url) as engine, engine.connect() as reader:
        reader.exec_driver_sql("BEGIN")
        reader.exec_driver_sql("SELECT count(*) FROM run").all()
        with used.engine.begin() as conn:
            conn.exec_driver_sql("UPDATE run SET output = 'new'")
        with pytest.raises(ConflictError, match="still reads"):
            maintenance.vacuum(used)
    maintenance.vacuum(used)


def test_tables_of_a_later_program_are_left_alone(database: Database) -> None:
    with database.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigError, match="older than the database"):
        maintenance.vacuum(database)
