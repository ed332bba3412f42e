"""A run whose rows say what no run can: it is set aside and told of, and the others go on."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from support.gemini import Plan
from support.poking import poked
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.model import RunStatus
from orchestrator.engine.commits import UNREAD_TRIES
from orchestrator.errors import UnreadableError
from orchestrator.store.run_rows import approval_t, run_t

pytestmark = pytest.mark.asyncio

STORIES = {"ask": (Plan((("refund", {"n": 1}),)), Plan(output="told")), "say": (Plan(output="said"),)}
POKES = {
    "terms": (approval_t, {"terms": {}}),
    "votes": (approval_t, {"votes": [1]}),
    "recipe": (run_t, {"recipe": {}}),
    "turn": (run_t, {"turn": 7}),
    "verdict": (approval_t, {"verdict": [1]}),
}


@pytest.mark.parametrize("what", POKES)
async def test_it_is_set_aside_and_the_others_go_on(database_url: str, what: str) -> None:
    async with World(database_url, stories=STORIES, rules={"refund": Rule(Ruling.ASK)}) as world:
        broken = await world.start("ask")
        await world.settle()
        assert await world.open_approvals(broken)
        interaction = (await world.run(broken)).turn.interaction_id
        await world.database.write(poked, broken, *POKES[what])
        assert interaction
        with capture_logs() as logs:
            await world.signal(interaction)  # a webhook about it
            fine = await world.start("say")
            await world.to_the_end(fine)
            for _ in range(24 + UNREAD_TRIES):
                world.clock.reach(world.clock() + timedelta(hours=1))  # its timers
                await world.settle()
        assert (await world.run(fine)).status is RunStatus.COMPLETED
        with pytest.raises(UnreadableError, match=broken):
            await world.run(broken)
        told = [e for e in logs if e["event"] == "effect_given_up"]
        dead = await world.effects(broken, state="dead")
        assert 0 < len(told) == len(dead)
        assert all(broken in e["error"] for e in dead), "it says which run, and where"
        assert [e for e in await world.effects(broken, state="pending") if e["due_at"] <= world.clock()] == []
        assert {e["attempts"] for e in dead} == {UNREAD_TRIES}, "another process may be able to"
        assert not [e for e in logs if e["event"] == "gate_failed"]
