"""What is seen of our registered webhook is said, healed if told to, and never in the way."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.clock import SettableClock

from orchestrator.domain.registration import EVENTS, Judgement, Registration, RegistrationState
from orchestrator.domain.values import replace
from orchestrator.engine.webhook_care import NOWHERE, RETRY_SECONDS, Wanted, WebhookCare
from orchestrator.errors import RejectedError, UnavailableError
from orchestrator.readiness import WebhookSeen
from orchestrator.store import sightings
from orchestrator.store.database import Database
from orchestrator.store.sightings import Sighting

OURS = "https://agents.example.com/webhooks/gemini"
FAILING = "disabled_due_to_failed_deliveries"

pytestmark = pytest.mark.asyncio


@dataclass
class Records:
    """Gemini's records: one webhook of ours, or none.

    `trouble` is raised instead of an answer, `stubborn` instead of a change.
    """

    hooks: list[Registration] = field(default_factory=list)
    trouble: Exception | None = None
    stubborn: Exception | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)
    looks: int = 0
    closed: bool = False

    async def list(self) -> tuple[Registration, ...]:
        self.looks += 1
        if self.trouble is not None:
            raise self.trouble
        return tuple(self.hooks)

    async def change(
        self, webhook_id: str, *, state: str | None = None, events: Sequence[str] | None = None
    ) -> Registration:
        if self.stubborn is not None:
            raise self.stubborn
        self.changes.append({"id": webhook_id, "state": state, "events": events})
        [old] = [h for h in self.hooks if h.id == webhook_id]
        new = replace(old, state=state or old.state, events=tuple(events or old.events))
        self.hooks[self.hooks.index(old)] = new
        return new

    async def aclose(self) -> None:
        self.closed = True


def hook(state: str = "enabled", events: tuple[str, ...] = EVENTS) -> Registration:
    return Registration("h1", OURS, state, events)


def care(records: Records, *, heal: bool = False, **options: Any) -> WebhookCare:
    return WebhookCare(records, Wanted(OURS, EVENTS, heal), every_seconds=3600, **options)


@pytest.mark.parametrize(
    ("hooks", "standing"),
    [
        ([], RegistrationState.NONE),
        ([hook(FAILING)], RegistrationState.FAILING),
        ([hook("disabled")], RegistrationState.DISABLED),
        ([hook(events=EVENTS[:1])], RegistrationState.OTHER_EVENTS),
    ],
)
async def test_what_is_amiss_is_said_each_time_and_left_alone(
    hooks: list[Registration], standing: RegistrationState
) -> None:
    records = Records(list(hooks))
    watching = care(records)
    with capture_logs() as logs:
        assert (await watching.look()).standing is standing
        await watching.look()
    assert [(entry["event"], entry["standing"]) for entry in logs] == [("webhook_amiss", standing)] * 2
    assert records.changes == []
    assert watching.verdict.text


@pytest.mark.parametrize(
    ("before", "changed"),
    [
        (hook(FAILING), {"id": "h1", "state": "enabled", "events": None}),
        (hook(events=EVENTS[:1]), {"id": "h1", "state": None, "events": [*EVENTS]}),
        (hook(FAILING, EVENTS[:1]), {"id": "h1", "state": "enabled", "events": [*EVENTS]}),
    ],
)
async def test_it_is_healed_when_told_to(before: Registration, changed: dict[str, Any]) -> None:
    records = Records([before])
    with capture_logs() as logs:
        assert (await care(records, heal=True).look()).well
    assert records.changes == [changed]
    assert [entry["event"] for entry in logs] == ["webhook_healed", "webhook_well"]


async def test_what_could_not_be_healed_is_still_said_and_tried_again_soon() -> None:
    records, slept = Records([hook(FAILING)], stubborn=RejectedError("no", code="forbidden")), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        raise asyncio.CancelledError

    watching = care(records, heal=True, sleep=sleep, chance=lambda: 0.5)
    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await watching.run()
    assert (watching.verdict.standing, slept) == (RegistrationState.FAILING, [RETRY_SECONDS])
    assert "switched the webhook off" in watching.verdict.text
    assert [entry["event"] for entry in logs] == ["webhook_not_healed", "webhook_amiss"]


@pytest.mark.parametrize("before", [[], [hook("disabled")], [hook("paused")]])
async def test_what_a_person_did_is_not_undone(before: list[Registration]) -> None:
    records = Records(list(before))
    assert not (await care(records, heal=True).look()).well
    assert (records.changes, records.hooks) == ([], before)


async def test_that_all_is_well_is_said_once() -> None:
    records = Records([hook()])
    watching = care(records)
    with capture_logs() as logs:
        for _ in range(3):
            await watching.look()
        records.hooks = []
        await watching.look()
        records.hooks = [hook()]
        await watching.look()
    assert [entry["event"] for entry in logs] == ["webhook_well", "webhook_amiss", "webhook_well"]


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (UnavailableError("away"), "Gemini could not be asked about the webhook"),
        (RejectedError("no", code="not_found"), "Gemini could not be asked about the webhook"),
        (RuntimeError("odd"), "the webhook could not be checked"),
    ],
)
async def test_trouble_is_an_unknown_and_no_more(trouble: Exception, told: str) -> None:
    records = Records([hook()])
    watching = care(records)
    assert (await watching.look()).well
    records.trouble = trouble
    with capture_logs() as logs:
        verdict = await watching.look()
    assert (verdict.standing, watching.verdict.text) == (RegistrationState.UNASKED, told)
    assert [entry["event"] for entry in logs] == ["webhook_not_checked"]


async def test_it_looks_at_once_then_hourly_and_sooner_while_it_knows_nothing() -> None:
    records, slept = Records([hook()]), list[float]()

    def sleeping(stop_after: int) -> Callable[[float], Any]:
        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            records.trouble = UnavailableError("away") if len(slept) == 1 else None
            if len(slept) == stop_after:
                raise asyncio.CancelledError

        return sleep

    chances = iter([0.0, 1.0, 0.5])
    with pytest.raises(asyncio.CancelledError):
        await care(records, sleep=sleeping(3), chance=lambda: next(chances)).run()
    assert slept == pytest.approx([3600 * 0.9, RETRY_SECONDS * 1.1, 3600])
    assert (records.looks, records.closed) == (3, True)


async def test_without_an_address_it_says_why_nothing_is_checked() -> None:
    records = Records([hook()])
    watching = WebhookCare(records, None, every_seconds=3600)
    with capture_logs() as logs:
        await watching.run()
        await watching.look()
    assert (records.looks, watching.verdict.text) == (0, NOWHERE)
    assert {entry["why"] for entry in logs if "why" in entry} == {NOWHERE}


async def test_each_look_is_told_and_who_cannot_be_told_stops_nothing() -> None:
    records, told = Records([hook()]), list[Judgement]()

    async def tell(verdict: Judgement) -> None:
        told.append(verdict)
        records.hooks = []
        if len(told) <= 2:
            raise OSError("the database is away")

    async def sleep(_: float) -> None:
        if len(told) == 3:
            raise asyncio.CancelledError

    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await care(records, sleep=sleep, tell=tell).run()
    assert [verdict.standing for verdict in told] == [
        RegistrationState.WELL,
        RegistrationState.NONE,
        RegistrationState.NONE,
    ]
    assert [e["event"] for e in logs if e["event"].startswith("webhook_sighting")] == [
        "webhook_sighting_failed",
        "webhook_sighting_recovered",
    ], "an outage is told once"


async def test_every_process_tells_what_one_saw_and_for_how_long_nobody_has_looked(
    database: Database,
) -> None:
    clock, every = SettableClock(), timedelta(hours=1)
    worker, web = (WebhookSeen(database, every, clock) for _ in range(2))
    assert await web.told() == "not looked at yet"
    await worker.keep(Judgement(RegistrationState.WELL, "all is well"))
    assert await web.told() == ""
    clock.advance(3 * every)
    assert await web.told() == ""
    clock.advance(seconds=1)
    assert await web.told() == "not checked since 2026-11-21 12:00 UTC"
    await worker.keep(Judgement(RegistrationState.NONE, "none is registered"))
    assert await web.told() == "none is registered"
    await database.write(sightings.put, sightings.WEBHOOK, Sighting(clock() - every, True, ""))
    assert await web.told() == "none is registered", "who saw it before knows less"
    clock.advance(4 * every)
    assert (await web.told()).endswith(" UTC; then none is registered")
