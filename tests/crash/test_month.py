"""A month of clocks and a feed: three processes on one PostgreSQL, killed and started again.

The processes are real ones, on a clock that the test moves (`orchestrator.cli.shifted`); the feed is a server
of the test's own. What should have happened is worked out here anew, minute by minute and by `zoneinfo`
alone; what did happen is read from the database and from a ledger that a tool of the runs writes. The days
of the usual size hold a change of clocks in Berlin; `MONTH_DAYS=31` holds those of Sydney and New York too.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from cradle import AVAILABLE, Child, cradle
from support.ports import own_port

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(int(os.environ.get("MONTH_SECONDS", "600")))]

DAYS: Final = float(os.environ.get("MONTH_DAYS", "1.25"))
LONG: Final = DAYS > 3
SEED: Final = int(os.environ.get("CRASH_SEED", "7"))
BEGINS: Final = datetime(2026, 10, 3 if LONG else 24, 12, 5, tzinfo=UTC)
PATIENCE: Final = 90.0
"""Seconds until what does not come about fails the test."""
LEASE: Final = timedelta(seconds=30)
LATE: Final = timedelta(minutes=5)
"""What is noticed within this time is on time (README, "Triggers")."""
OVERDUE: Final = timedelta(seconds=4)
"""So long after its time every process looks for what nobody took."""
SHOWN: Final = 40
"""Entries a feed lists."""
WALL: Final[Mapping[str, tuple[str, str, int, int]]] = {
    "berlin": ("30 2 * * *", "Europe/Berlin", 2, 30),
    "newyork": ("15 1 * * *", "America/New_York", 1, 15),
    "sydney": ("30 2 * * *", "Australia/Sydney", 2, 30),
}
"""Once a day by the clocks on the wall."""
REAL: Final[Mapping[str, tuple[str, str, int]]] = {
    "often": ("0 */3 * * *", "Europe/Berlin", 0),
    "newest": ("20 */3 * * *", "America/New_York", 20),
}
"""Every third hour of the clocks on the wall. `newest` makes up for one time only, the others for all."""

TOOLS: Final = '''\
"""Books that outlive any process."""

import json
import os

from orchestrator import ToolContext, tool


@tool(approval="allow", idempotent=True)
def enter(title: str, ctx: ToolContext) -> str:
    """Write a line.

    Args:
        title: What it says.
    """
    line = json.dumps({"key": ctx.call_id, "run": ctx.run_id, "title": title}) + "\\n"
    file = os.open(os.environ["LAB_LEDGER"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, line.encode())
    os.close(file)
    return "entered"
'''


# --- what should happen ---------------------------------------------------------------------------


def key(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def minutes(since: datetime, until: datetime) -> list[datetime]:
    """Every minute after the one and up to the other."""
    first = since.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return [first + timedelta(minutes=n) for n in range(int((until - first) / timedelta(minutes=1)) + 1)]


def by_the_wall(zone: str, hour: int, minute: int, since: datetime, until: datetime) -> list[datetime]:
    """The first minute of each day that is at that time or, where it is left out, behind it."""
    seen, found = set(), []
    for moment in minutes(since - timedelta(days=2), until):
        local = moment.astimezone(ZoneInfo(zone))
        if local.date() not in seen and (local.hour, local.minute) >= (hour, minute):
            seen.add(local.date())
            found.append(moment)
    return [m for m in found[1:] if since < m <= until]


def by_real_time(zone: str, minute: int, since: datetime, until: datetime) -> list[datetime]:
    """Each instant at which the clocks say so."""
    local = [(m, m.astimezone(ZoneInfo(zone))) for m in minutes(since, until)]
    return [m for m, wall in local if wall.minute == minute and wall.hour % 3 == 0]


def newest_only(due: list[datetime], downs: list[tuple[datetime, datetime]]) -> list[datetime]:
    """Without what passed while nobody worked, but for the newest of it where none came on time after."""
    left = list(due)
    for begin, end in downs:
        gone = [m for m in due if begin < m < end - LATE]
        soon = [m for m in due if end - LATE <= m <= end]
        keep = gone[-1:] if not soon else []
        left = [m for m in left if m not in gone or m in keep]
    return left


# --- the feed -------------------------------------------------------------------------------------


@dataclass
class Source:
    """A feed over HTTP, which knows whether it has changed, and has a bad day."""

    listed: list[tuple[str, str]] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    broken: bool = False
    answers: Counter[int] = field(default_factory=Counter)

    def publish(self) -> None:
        self.written.append(f"tag:news.example,{len(self.written)}")
        self.listed.insert(0, (self.written[-1], f"Title {len(self.written)}"))
        del self.listed[SHOWN:]

    def edit(self, dice: random.Random) -> None:
        """An entry comes once more, as the newest and under another title; or the order changes."""
        if dice.random() < 0.5:
            name, title = self.listed.pop(dice.randrange(len(self.listed)))
            self.listed.insert(0, (name, f"{title} (edited)"))
        else:
            dice.shuffle(self.listed)

    async def answer(self, request: web.Request) -> web.Response:
        items = "".join(f"<item><guid>{g}</guid><title>{t}</title></item>" for g, t in self.listed)
        etag = f'"{abs(hash(items)):x}"'
        status = 500 if self.broken else 304 if request.headers.get("if-none-match") == etag else 200
        self.answers[status] += 1
        if status != 200:
            return web.Response(status=status)
        body = f'<rss version="2.0"><channel><title>News</title>{items}</channel></rss>'
        return web.Response(text=body, headers={"etag": etag})


# --- the processes --------------------------------------------------------------------------------


@dataclass
class House:
    """Three processes, their database, their clock."""

    folder: Path
    url: str
    source: Source
    dice: random.Random = field(default_factory=lambda: random.Random(SEED))
    living: dict[int, Child | asyncio.subprocess.Process] = field(default_factory=dict)
    ports: list[int] = field(default_factory=lambda: [own_port() for _ in range(3)])
    kills: int = 0
    bereft: bool = False
    starts: int = 0
    steps: int = 0
    downs: list[tuple[datetime, datetime]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lead = BEGINS - datetime.now(UTC)
        self.engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT")
        self._tell()

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.lead

    def furnish(self, feed: str) -> None:
        """config.yaml and the tool."""
        tools = self.folder / "tools"
        tools.mkdir(mode=0o700)
        (tools / "books.py").write_text(TOOLS)
        (tools / "books.py").chmod(0o600)
        clocks = {name: (cron, zone) for name, (cron, zone, *_) in {**WALL, **REAL}.items()}
        all_of_them = {"missed": "run_all", "missed_most": 500}
        field_of = {"input": {"title": "occurrence.key"}}
        triggers: dict[str, Any] = {
            name: {"workflow": "note", "cron": cron, "timezone": zone, **field_of}
            | ({} if name == "newest" else all_of_them)
            for name, (cron, zone) in clocks.items()
        }
        triggers["feed"] = {
            "workflow": "note",
            "feed": feed,
            "internal": True,
            "every_minutes": 180,
            "first": "all",
            "input": {"title": "entry.id"},
        }
        step = {
            "name": "note",
            "kind": "tool",
            "tool": "enter",
            "arguments": {"title": {"from": "input.title"}},
        }
        schema = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}
        config = {
            "server": {"graceful_seconds": 5},
            "gemini": {"base_url": "http://127.0.0.1:9"},
            "webhooks": {"mode": "poll"},
            "slack": {"enabled": False},
            "tools": {"folder": str(tools), "modules": ["books"]},
            "workflows": {"note": {"input": schema, "steps": [step]}},
            "storage": {"url": str(self.folder / "files"), "min_free_mb": 0},
            "triggers": triggers,
            "work": {"lease_seconds": LEASE.total_seconds()},
            "log": {"level": "info", "format": "json"},
        }
        (self.folder / "config.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(config))))

    async def start(self, which: int, failpoints: str = "") -> None:
        """Returns when it answers, which is when it hears of the clock."""
        foreign = ("GEMINI_", "GOOGLE_", "SLACK_", "ORCHESTRATOR_", "DATABASE_URL", "TRIGGER_")
        env = {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | {
            "ORCHESTRATOR_CONFIG": str(self.folder / "config.yaml"),
            "ORCHESTRATOR_SERVER__PORT": str(self.ports[which]),
            "ORCHESTRATOR_API_TOKEN": "month-of-triggers-token",
            "GEMINI_API_KEY": "laboratory-key",
            "DATABASE_URL": self.url,
            "LAB_LEDGER": str(self.folder / "ledger.jsonl"),
            "GEMINI_ORCHESTRATOR_FAILPOINTS": failpoints,
        }
        words, log = [str(self.folder / "lead")], self.folder / f"{which}.log"
        module = "orchestrator.cli.shifted"
        if AVAILABLE:
            bear = partial(cradle().bear, words, env=env, cwd=self.folder, log=log, module=module)
            self.living[which] = await asyncio.to_thread(bear)
        else:
            with log.open("ab") as said:
                self.living[which] = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", module, *words, env=env, cwd=self.folder, stdout=said, stderr=said
                )
        self.starts += 1
        await self.until(partial(self._answers, which), f"process {which} answers")
        self._signal(which)

    async def _answers(self, which: int) -> bool:
        code = self.living[which].returncode
        assert code is None, f"process {which} ended with {code}\n{self.said()}"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.ports[which])
        except OSError:
            return False
        writer.close()
        return True

    async def kill(self, which: int) -> None:
        """SIGKILL, now."""
        process = self.living.pop(which)
        process.kill()
        await process.wait()
        self._died()

    async def broken(self, which: int) -> None:
        """Wait until it has broken at its failpoint: an occurrence was written down, and its run was not."""

        async def gone() -> bool:
            self.bury()
            return which not in self.living

        await self.until(gone, f"process {which} breaks")
        assert self.rows("SELECT key FROM occurrence") == []

    def bury(self) -> None:
        """Whoever broke at a failpoint of its own is gone."""
        for which, process in list(self.living.items()):
            if process.returncode is not None:
                assert process.returncode == -signal.SIGKILL, self.said()
                del self.living[which]
                self._died()

    def _died(self) -> None:
        self.kills += 1
        self.bereft = True

    def said(self) -> str:
        return "\n".join(f"--- {n}\n{(self.folder / f'{n}.log').read_text()[-2500:]}" for n in self.living)

    # --- the clock ------------------------------------------------------------------------

    def _tell(self) -> None:
        new = self.folder / "lead.new"
        new.write_text(str(self.lead.total_seconds()))
        new.rename(self.folder / "lead")

    def _signal(self, which: int) -> None:
        if self.living[which].returncode is None:
            self.living[which].send_signal(signal.SIGUSR1)

    def reach(self, moment: datetime) -> None:
        """Never back."""
        self.lead += max(moment - self.now, timedelta(0))
        self._tell()
        for which in self.living:
            self._signal(which)

    async def until(self, claim: Callable[[], Any], what: str) -> None:
        ends = time.monotonic() + PATIENCE
        while not await claim():
            assert time.monotonic() < ends, f"in vain: {what}\n{self.said()}"
            await asyncio.sleep(0.02)

    async def settle(self) -> None:
        """Until what is due is done; what somebody held who died is free when its lease has run out."""
        looked = time.monotonic()

        async def done() -> bool:
            nonlocal looked
            self.bury()
            if not self.living:  # each broke at a point of its own
                await self.start(0)
            still_open = self.scalar(OPEN, now=self.now)
            if still_open and time.monotonic() > looked + 1.0:
                looked = time.monotonic()
                self.reach(self.now + (LEASE + OVERDUE if self.bereft else timedelta(0)))
            return not still_open

        await self.until(done, "everything that is due is done")
        self.bereft = False

    async def past(self, moment: datetime) -> None:
        """Everything that is due up to then, each at its time."""
        while (due := self.scalar(NEXT)) is not None and due <= moment:
            self.steps += 1
            self.reach(due + OVERDUE + timedelta(seconds=self.dice.uniform(0, 40)))
            await self.settle()
        self.reach(moment)

    async def down(self, hours: float) -> None:
        """Nobody works for a while."""
        begin = self.now
        self.bury()
        for which in list(self.living):
            await self.kill(which)
        self.reach(begin + timedelta(hours=hours))
        for which in range(3):
            await self.start(which)
            if which == 0:
                self.downs.append((begin, self.now))
        await self.settle()

    # --- what did happen ------------------------------------------------------------------

    def scalar(self, statement: str, **values: Any) -> Any:
        with self.engine.connect() as conn:
            return conn.execute(sa.text(statement), values).scalar()

    def rows(self, statement: str) -> list[Any]:
        with self.engine.connect() as conn:
            return list(conn.execute(sa.text(statement)))


OPEN: Final = (
    "SELECT (SELECT count(*) FROM effect WHERE kind = 'fire_trigger' AND (state = 'claimed'"
    " OR (state = 'pending' AND due_at <= :now)))"
    " + (SELECT count(*) FROM run WHERE status NOT IN ('completed', 'failed', 'cancelled'))"
)
NEXT: Final = "SELECT min(due_at) FROM effect WHERE kind = 'fire_trigger' AND state = 'pending'"


@asynccontextmanager
async def house(folder: Path, url: str) -> AsyncIterator[House]:
    source = Source()
    app = web.Application()
    app.router.add_get("/feed.xml", source.answer)
    async with TestServer(app) as server:
        made = House(folder, url, source)
        made.furnish(f"http://127.0.0.1:{server.port}/feed.xml")
        try:
            yield made
        finally:
            for which in list(made.living):
                await made.kill(which)
            made.engine.dispose()


# --- the story ------------------------------------------------------------------------------------

BREAKS: Final = (
    "after_occurrence=kill@1",
    "after_look=kill@1",
    "after_occurrence=kill@3",
    "after_claim=kill@2",
)


async def test_each_occurrence_of_a_month_has_one_run(tmp_path: Path, postgres_url: str) -> None:
    async with house(tmp_path, postgres_url) as three:
        dice, source = three.dice, three.source
        source.publish()
        source.publish()
        since = three.now
        await three.start(0, BREAKS[0])  # alone: the first occurrence there is must be its own
        await three.broken(0)
        await asyncio.gather(*(three.start(n) for n in range(3)))
        await three.settle()
        end, broken_from = BEGINS + timedelta(days=DAYS), BEGINS + timedelta(days=DAYS / 3)
        broken_for, blackouts = timedelta(days=1 if LONG else 0.25), [0.5, 0.8] if LONG else [0.6]
        while three.now < end:
            source.broken = broken_from <= three.now < broken_from + broken_for
            if dice.random() < 0.2:
                source.publish()
            if dice.random() < 0.1:
                source.edit(dice)
            if blackouts and three.now > BEGINS + (end - BEGINS) * blackouts[0]:
                blackouts.pop(0)
                await three.down(7.5)
            await someone_dies(three)
            await three.past(three.now + timedelta(hours=2))
        source.broken = False
        await three.past(three.now + timedelta(hours=4))
        judge(three, since, three.now)


async def someone_dies(three: House) -> None:
    """In the middle of work, or at a point of its own choosing; and whoever was away comes back."""
    dice = three.dice
    for which in set(range(3)) - three.living.keys():
        if dice.random() < 0.5 or not three.living:
            await three.start(which, dice.choice(BREAKS) if LONG and dice.random() < 0.3 else "")
    if dice.random() < (0.15 if LONG else 0.06) and len(three.living) > 1:
        due = three.scalar(NEXT)
        three.reach(due + OVERDUE)
        await asyncio.sleep(dice.uniform(0, 0.03))
        three.bury()
        if three.living:
            await three.kill(dice.choice(sorted(three.living)))
        if not three.living:
            await three.start(0)
        await three.settle()


def judge(three: House, since: datetime, until: datetime) -> None:
    """The runs there are against those there should be; then each run's one effect."""
    wanted = {n: by_the_wall(zone, h, m, since, until) for n, (_, zone, h, m) in WALL.items()}
    wanted |= {n: by_real_time(zone, m, since, until) for n, (_, zone, m) in REAL.items()}
    wanted["newest"] = newest_only(wanted["newest"], three.downs)
    expected = Counter({(f"trigger:{n}", key(m)): 1 for n, due in wanted.items() for m in due})
    expected.update({("trigger:feed", name): 1 for name in three.source.written})
    runs = three.rows("SELECT owner, idempotency_key, id, status FROM run")
    ran = Counter((owner, name) for owner, name, *_ in runs)
    assert ran - expected == Counter(), "nothing beyond"
    assert expected - ran == Counter(), "nothing missing"
    assert {status for *_, status in runs} == {"completed"}
    books = three.rows("SELECT trigger, key, run_id, again FROM occurrence WHERE verdict = 'started'")
    assert {(f"trigger:{name}", own): run for name, own, run, _ in books} == {
        (owner, name): run for owner, name, run, _ in runs
    }
    lines = [json.loads(line) for line in (three.folder / "ledger.jsonl").read_text().splitlines()]
    effects = Counter(run for run, _ in {(line["run"], line["key"]) for line in lines})
    assert effects == Counter({run: 1 for _, _, run, _ in runs})
    each = Counter(owner.removeprefix("trigger:") for owner, *_ in runs)
    print(
        f"\nseed {SEED}: {(until - since) / timedelta(days=1):.1f} days, {three.steps} steps,"
        f" {three.starts} starts and {three.kills} kills of three processes, nobody there"
        f" {len(three.downs)} times; {len(runs)} runs for {sum(expected.values())} occurrences,"
        f" none missing, none doubled: {dict(sorted(each.items()))};"
        f" the feed answered {dict(sorted(three.source.answers.items()))}"
    )
