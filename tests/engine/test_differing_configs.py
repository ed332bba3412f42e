"""Processes of one service that were started with different configs: each of them says so."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from support.clock import NOON, pass_by
from support.readiness import readiness

from orchestrator import app, jobs, tooling
from orchestrator.differing_configs import LOOK_SECONDS, STAYS, DifferingConfigs, Known
from orchestrator.readiness import DIFFERS
from orchestrator.settings import Settings
from orchestrator.store import sightings
from orchestrator.store.database import Database
from orchestrator.store.words import LASTS

pytestmark = pytest.mark.asyncio
TOOLS = {"lookup": "t1", "send_note": "t2"}
KNOWN = Known(TOOLS, {"lookup": "r1", "send_note": "r2"}, {"daily": "w1"})
WITHOUT_NOTE = Known({"lookup": "t1"}, {"lookup": "r1"}, {"daily": "w1"})
TOOL = '''from orchestrator import tool


@tool(approval="allow")
async def lookup(word: str) -> str:
    """Look a word up."""
    return word
'''


class Team:
    """Processes beside each other, and one time for all of them."""

    def __init__(self, database: Database, **known: Known) -> None:
        self.now = NOON
        self._database = database
        self.of = {who: self.process(who, what) for who, what in known.items()}

    def process(self, who: str, known: Known) -> DifferingConfigs:
        return DifferingConfigs(self._database, who, known, lambda s: self.now)

    async def look(self, *who: str) -> list[str]:
        """Some look once, and what they say then."""
        for name in who:
            await self.of[name].look()
        return [self.of[name].trouble for name in who]

    async def during(self, span: timedelta, *who: str) -> set[str]:
        """All that the last of those said meanwhile."""
        told = set()
        until = self.now + span
        while self.now < until:
            self.now += timedelta(seconds=LOOK_SECONDS)
            told.add((await self.look(*who))[-1])
        return told


async def test_what_another_process_lacks_is_told_once_it_stays_so(database_url: str) -> None:
    with closing(Database(database_url)) as database, structlog.testing.capture_logs() as logs:
        team = Team(database, worker=WITHOUT_NOTE, web=KNOWN, second=KNOWN)
        assert await team.look("worker", "web", "second") == ["", "", ""]
        brief = STAYS - timedelta(seconds=LOOK_SECONDS)
        assert await team.during(brief, "worker", "second", "web") == {""}
        await team.during(timedelta(seconds=LOOK_SECONDS), "worker", "second", "web")
        assert (await team.look("worker", "second", "web")) == [
            "second knows other tools: send_note is only there;"
            " web knows other tools: send_note is only there",
            "worker knows other tools: send_note is not there",
            "worker knows other tools: send_note is not there",
        ]
        team.of["worker"] = team.process("worker", KNOWN)
        team.now += LASTS
        assert await team.look("worker", "second", "web") == ["", "", ""]
    told = [(line["event"], line["log_level"]) for line in logs]
    assert told == [("configs_differ", "warning")] * 3 + [("configs_agree_again", "info")] * 2


async def test_a_deploy_that_is_quick_alarms_nobody(database_url: str) -> None:
    """Neither who stopped in order nor who was killed in it says a second time what it knows."""
    with closing(Database(database_url)) as database:
        team = Team(database, stopped=WITHOUT_NOTE, killed=WITHOUT_NOTE, web=KNOWN)
        await team.look("stopped", "killed", "web")
        assert await team.during(timedelta(minutes=1), "stopped", "killed", "web") == {""}
        await team.of["stopped"].leave()
        assert await team.during(2 * LASTS, "web") == {""}
        assert len(await database.read(sightings.of, "config:")) == 1, "who is gone is forgotten"


async def test_who_stopped_is_told_of_no_more(database_url: str) -> None:
    with closing(Database(database_url)) as database:
        team = Team(database, stops=WITHOUT_NOTE, web=KNOWN)
        await team.during(2 * STAYS, "stops", "web")
        assert (await team.look("web"))[0]
        await team.of["stops"].leave()
        assert await team.look("web") == [""]


async def test_one_that_keeps_starting_anew_is_told_of_all_the_same(database_url: str) -> None:
    with closing(Database(database_url)) as database:
        team = Team(database, web=KNOWN)
        for _ in range(8):
            team.of["crashes"] = team.process("crashes", WITHOUT_NOTE)
            told = await team.during(timedelta(seconds=LOOK_SECONDS), "crashes", "web")
    assert told == {"crashes knows other tools: send_note is not there"}


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (KNOWN, ""),
        (WITHOUT_NOTE, "knows other tools: send_note is not there"),
        (
            Known({**TOOLS, "lookup": "t3", "more": "t4"}, {**KNOWN.rules, "more": "r4"}, KNOWN.workflows),
            "knows other tools: lookup is another version, more is only there",
        ),
        (
            Known(TOOLS, {"lookup": "r1", "send_note": "r3"}, {"daily": "w2"}),
            "asks by other rules: send_note is another version;"
            " knows other workflows: daily is another version",
        ),
        (
            Known(TOOLS, KNOWN.rules, {f"w{n}": "w" for n in range(9)}),
            "knows other workflows: daily is not there, w0 is only there, w1 is only there,"
            " w2 is only there, w3 is only there and 5 more",
        ),
    ],
)
async def test_what_differs_is_told_in_words(theirs: Known, words: str) -> None:
    assert theirs.unlike(KNOWN) == words


@pytest.fixture
def with_lookup(settings_of: Callable[..., Settings]) -> Callable[..., Settings]:
    Path("tools/words.py").write_text(TOOL, encoding="utf-8")

    def act(url: str, **overrides: object) -> Settings:
        tools = {"modules": ["words"], "overrides": {"lookup": overrides}}
        workflows = {"daily": {"model": "gemini-3", "tools": ["lookup"]}}
        return settings_of(url, tools=tools, workflows=workflows)

    return act


async def test_rules_of_the_config_are_known(with_lookup: Callable[..., Settings], database_url: str) -> None:
    def known(**overrides: object) -> Known:
        settings = with_lookup(database_url, **overrides)
        return tooling.known(settings, tooling.toolkit(settings))

    assert known() == known()
    assert known(approval="deny").unlike(known()) == "asks by other rules: lookup is another version"


async def test_readyz_is_degraded_while_another_process_knows_something_else(
    with_lookup: Callable[..., Settings], postgres_url: str
) -> None:
    settings = with_lookup(postgres_url)
    with closing(Database(postgres_url)) as database:
        jobs.install(database.engine)
        service = app.build(settings, database, role=app.Role.WEB)
        nothing = Known({}, {}, {})
        earlier = DifferingConfigs(database, "worker host-2", nothing, lambda s: sightings.moment(s) - STAYS)
        await earlier.look()
        async with asyncio.timeout(30 + LOOK_SECONDS), service.lifespan(service.web):
            while len(await database.read(sightings.of, "config:")) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert await readiness(service.web, "config") == (200, "well", "")
            await DifferingConfigs(database, "worker host-2", nothing).look()
            pass_by(LOOK_SECONDS)
            while (now := await readiness(service.web, "config"))[1] == "well":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert now == (200, "degraded", DIFFERS), "what is open to anybody names nobody"
        left = await database.read(sightings.of, "config:")
        assert all(key.endswith(":worker host-2") for key in left), "who stops says so"


async def test_a_lone_process_compares_nothing(with_lookup: Callable[..., Settings], sqlite_url: str) -> None:
    with closing(Database(sqlite_url)) as database:
        service = app.build(with_lookup(sqlite_url), database)
        assert (await readiness(service.web, "config"))[1:] == ("", "")
