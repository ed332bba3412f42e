"""An argument kept from view: the tool gets it, Gemini wrote it, and nobody else ever sees it."""

import json
import logging
from typing import Annotated, Any

import pytest
import structlog
from support.conversation import ANNA
from support.gemini import Plan
from support.world import World

from orchestrator import Secret, tool
from orchestrator.domain.consent import Terms
from orchestrator.domain.model import Recipe, RunStatus
from orchestrator.slack.blocks import draw
from orchestrator.store import views
from orchestrator.toolkit import Toolkit
from orchestrator.toolkit.report import list_tools
from orchestrator.web.schemas.approvals import approval_out
from orchestrator.web.schemas.calls import call_out
from orchestrator.web.schemas.ground import whole_text
from orchestrator.web.schemas.record import event_out

CANARY = "canary-5b1c9e7740d24f0ab3f0a2"
COVER = f"[hidden, {len(CANARY)} characters]"
RECIPE = Recipe("logins", model="gemini-3.8-flash", tools=("reset", "probe"))
TERMS = Terms(("U0ANNA", "U0BEN"), "C0APPR")


class Logins:
    """Two tools that take a secret, one of which asks people first, and what they were called with."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

        @tool(approval="ask", edits="same")
        def reset(user: str, password: Annotated[str, Secret()]) -> str:
            """Set a password."""
            self.seen.append((user, password))
            return "set"

        @tool(approval="allow")
        def probe(password: Annotated[str, Secret()]) -> str:
            """Try a password."""
            self.seen.append(("probe", password))
            return "fits"

        self.toolkit = Toolkit([reset, probe], defaults=TERMS)


async def seen_by_api(world: World, run_id: str, logins: Logins) -> dict[str, Any]:
    """Everything the API gives about a run's calls, questions and record."""
    hidden = {t.name: t.secret for t in list_tools(logins.toolkit)}
    asked = (await world.database.read(views.approvals, limit=50, run_id=run_id)).rows
    calls = await world.database.read(views.calls, run_id)
    events = (await world.database.read(views.events, run_id, after=0, limit=500)).rows
    return {
        "approvals": [approval_out(a, hidden).arguments for a in asked],
        "edited": [getattr(approval_out(a, {}).edited, "changes", None) for a in asked],
        "calls": {c["tool"]: call_out(c, None, (), hidden).arguments for c in calls},
        "frozen": [approval_out(a, {}).arguments for a in asked],  # the tool is not loaded any more
        "events": [event_out(e, hidden).data for e in events],
        "stored": [whole_text(e["data"]) for e in events],
    }


@pytest.mark.asyncio
async def test_only_the_tool_gets_it(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    logins = Logins()
    wished = (("reset", {"user": "dana", "password": CANARY}), ("probe", {"password": CANARY}))
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as logged:
        async with World(sqlite_url, stories={"go": (Plan(wished), Plan(output="done"))}) as world:
            world.toolkit = logins.toolkit  # type: ignore[assignment]
            world.boot()
            run_id = (await world.intake.start(RECIPE, "go", ANNA)).run_id
            await world.settle()
            (first,) = await world.open_approvals(run_id)
            cards = [repr(draw(c, now=world.clock())) for c in world.slack.messages.values()]
            edited = await world.intake.edit(
                first.id,
                {"user": "erik", "password": COVER},
                by=ANNA,
                entitled_as=ANNA.id,
                digest=first.digest,
            )
            assert edited.refused is None
            assert edited.approval.digest != first.digest
            await world.to_the_end(run_id)
            assert (await world.run(run_id)).status is RunStatus.COMPLETED
            cards += [repr(draw(c, now=world.clock())) for c in world.slack.messages.values()]
            told = await seen_by_api(world, run_id, logins)
    assert sorted(logins.seen) == [("erik", CANARY), ("probe", CANARY)], "what runs is the value itself"
    assert told["calls"] == {"reset": {"user": "erik", "password": COVER}, "probe": {"password": COVER}}
    assert {"user": "erik", "password": COVER} in told["frozen"]
    assert {"user": {"from": "dana", "to": "erik"}} in told["edited"]
    assert CANARY in json.dumps(told.pop("stored")), "the record holds it, and would have told"
    assert CANARY not in json.dumps(told)
    assert any(COVER in card for card in cards)
    assert CANARY not in "".join((*cards, repr(logged), caplog.text))
