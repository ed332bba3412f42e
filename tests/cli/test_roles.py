"""Which processes a service may consist of, and what is said where they do not fit the database."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator import app, jobs, opening
from orchestrator.app import Role
from orchestrator.engine.queued import QueuedWorker
from orchestrator.engine.worker import Worker
from orchestrator.errors import ConfigError
from orchestrator.settings import Settings
from orchestrator.store.database import Database

Configured = Callable[..., Settings]
Shell = Callable[[str], tuple[int, str]]


@pytest.fixture
def configured(settings_of: Configured) -> Configured:
    """With what the test says of `work`."""

    def act(url: str, **work: object) -> Settings:
        return settings_of(url, work=work)

    return act


@pytest.fixture
def shell(shell: Callable[[str], tuple[int, str, str]]) -> Shell:
    """Whatever a command says, on either stream."""

    def act(words: str) -> tuple[int, str]:
        code, out, err = shell(words)
        return code, out + err

    return act


@pytest.mark.parametrize(
    ("dispatcher", "on_sqlite", "on_postgresql"),
    [("auto", False, True), ("embedded", False, False), ("pgqueuer", None, True)],
)
def test_who_carries_the_work(
    configured: Configured, database: Database, dispatcher: str, on_sqlite: bool | None, on_postgresql: bool
) -> None:
    url = database.url.render_as_string(hide_password=False)
    expected = on_sqlite if database.sqlite else on_postgresql
    if expected is None:
        with pytest.raises(ConfigError, match=r"work\.dispatcher: pgqueuer needs PostgreSQL"):
            configured(url, dispatcher=dispatcher)
    else:
        assert opening.carried(configured(url, dispatcher=dispatcher), database) is expected


def test_without_the_extra_there_is_one_process(
    configured: Configured, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_has_pgqueuer", lambda: False)
    database = Database(postgres_url)
    try:
        assert not opening.carried(configured(postgres_url), database)
    finally:
        database.close()


def test_what_each_role_has(configured: Configured, postgres_url: str) -> None:
    settings = configured(postgres_url)
    kinds = {}
    for role in Role:
        database = Database(postgres_url)
        try:
            service = app.build(settings, database, role=role)
            kinds[role] = type(service.worker)
            assert getattr(database.ending, "__func__", None) is not None, "its commits make jobs"
        finally:
            database.close()
    assert kinds == {Role.ALL: QueuedWorker, Role.WEB: type(None), Role.WORKER: QueuedWorker}


def test_embedded_makes_no_jobs(configured: Configured, postgres_url: str) -> None:
    database = Database(postgres_url)
    try:
        service = app.build(configured(postgres_url, dispatcher="embedded"), database)
        assert type(service.worker) is Worker
        assert getattr(database.ending, "__func__", None) is None
    finally:
        database.close()


@pytest.mark.parametrize("role", [Role.WEB, Role.WORKER])
def test_a_role_needs_jobs(configured: Configured, database: Database, role: Role) -> None:
    settings = configured(database.url.render_as_string(hide_password=False), dispatcher="embedded")
    with pytest.raises(ConfigError, match=r"^database\.url: .* need PostgreSQL and pgqueuer"):
        app.build(settings, database, role=role)


@pytest.mark.parametrize("command", ["serve --web", "worker"])
def test_a_command_for_several_says_what_a_file_cannot(
    configured: Configured, shell: Shell, sqlite_url: str, command: str
) -> None:
    configured(sqlite_url)
    code, told = shell(command)
    assert code == 2
    assert "database.url" in told
    assert "PostgreSQL" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize("wrong", ["work: {dispatcher: pgqueuer}", "server: {port: -1}", "a: ["])
@pytest.mark.parametrize("where", ["file", "environment"])
def test_who_reads_the_log_as_json_reads_why_it_did_not_start(
    configured: Configured,
    shell: Shell,
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    wrong: str,
    where: str,
) -> None:
    configured(sqlite_url)
    monkeypatch.delenv("DATABASE_URL")
    text = "slack: {enabled: false}\n" + ("log: {format: json}\n" if where == "file" else "") + wrong
    Path("config.yaml").write_text(text, encoding="utf-8")
    if where == "environment":
        monkeypatch.setenv("ORCHESTRATOR_LOG__FORMAT", "json")
    code, told = shell(command)
    assert code == 2
    if "[" in wrong and where == "file":
        assert told.startswith("orchestrator: config.yaml:"), "no part of such a file can be read"
    else:
        *_, last = (json.loads(line) for line in told.splitlines())
        assert (last["event"], last["level"]) == ("gave_up", "error")
        assert "config.yaml:" in last["why"] or "work.dispatcher:" in last["why"]


@pytest.mark.parametrize("command", ["serve", "serve --web", "worker"])
def test_without_its_tables_no_process_starts(
    configured: Configured, shell: Shell, postgres_url: str, command: str
) -> None:
    engine = sa.create_engine(postgres_url)
    jobs.uninstall(engine)
    configured(postgres_url)
    code, told = shell(command)
    assert code == 2
    assert "run `orchestrator db upgrade`" in told
    assert not sa.inspect(engine).has_table("pgqueuer", schema="orchestrator_jobs"), "not made in passing"
    engine.dispose()


def test_an_upgrade_makes_them(configured: Configured, shell: Shell, postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url)
    jobs.uninstall(engine)
    configured(postgres_url)
    assert shell("db upgrade")[0] == 0
    assert jobs.installed(engine)
    engine.dispose()


def test_an_upgrade_of_one_process_leaves_them_out(
    configured: Configured, shell: Shell, postgres_url: str
) -> None:
    engine = sa.create_engine(postgres_url)
    jobs.uninstall(engine)
    configured(postgres_url, dispatcher="embedded")
    assert shell("db upgrade")[0] == 0
    assert not jobs.installed(engine)
    engine.dispose()


def test_slots_are_by_lane(configured: Configured, sqlite_url: str) -> None:
    settings = configured(sqlite_url, gemini_slots=1, tools_slots=2, slack_slots=3, timers_slots=4)
    lanes = {"gemini": 1, "tools": 2, "slack": 3, "files": 4, "callbacks": 8, "timers": 4, "triggers": 4}
    assert settings.work.slots == lanes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gemini_slots", 0),
        ("gemini_slots", 257),
        ("tools_slots", 0),
        ("tools_slots", 257),
        ("slack_slots", 0),
        ("slack_slots", 65),
        ("timers_slots", 0),
        ("timers_slots", 257),
        ("lease_seconds", 1.9),
        ("lease_seconds", 301),
        ("dispatcher", "celery"),
    ],
)
def test_a_mistake_names_its_key(configured: Configured, sqlite_url: str, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"work\.{name}"):
        configured(sqlite_url, **{name: value})


def test_a_server_that_is_too_old_is_named(
    configured: Configured, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "OLDEST_POSTGRESQL", 99)
    too_old = r"^database.url: .* is a PostgreSQL \d+; 99 or newer is needed$"
    with pytest.raises(ConfigError, match=too_old), opening.opened(configured(postgres_url)):
        pass


def test_a_pooler_that_shares_sessions_is_refused(
    configured: Configured, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind one that pools transactions, two connections at once hear of the same session."""
    monkeypatch.setattr("orchestrator.silence.WHO", "SELECT '4711 1'")
    shared = r"^database.url: .* leads to a pooler that shares sessions between connections; it has to pool"
    with pytest.raises(ConfigError, match=shared), opening.opened(configured(postgres_url)):
        pass


def test_sessions_of_our_own_are_taken(configured: Configured, postgres_url: str) -> None:
    with opening.opened(configured(postgres_url)) as database:
        assert not database.shares_sessions()
