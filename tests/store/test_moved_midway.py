"""What people and callers were in the middle of when the database moved is gone on with in its new place."""

import base64
from datetime import timedelta

import pytest
from support.conversation import ANNA, BEN, TERMS
from support.gemini import Plan
from support.receiver import Receiver
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.callbacks import ALL_NEWS, AddressState, Callback
from orchestrator.domain.consent import Approval, Edits
from orchestrator.domain.model import Recipe, RunStatus
from orchestrator.domain.values import replace
from orchestrator.outbound import Outbound, Rules
from orchestrator.outbound.callbacks import CallbackSender
from orchestrator.store import callback_care, database_copy
from orchestrator.store.callbacks import AddressRow, CallbackRow
from orchestrator.store.database import Database

SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()
STORIES = {
    text: (Plan((("refund", {"n": 1}),)), Plan(output="refunded"))
    for text in ("voted", "asked back", "edited")
}
RULES = {"refund": Rule(Ruling.ASK, terms=replace(TERMS, quorum=2, edits=Edits.SAME))}


def house(receiver: Receiver, url: str, before: World | None = None) -> World:
    """A world of callers, with the neighbours of the one before."""
    world = World("", stories=STORIES, rules=RULES, roll=lambda: 0.99, database=Database(url))
    if before is not None:
        world.clock, world.gemini = before.clock, before.gemini
        world.slack, world.toolkit = before.slack, before.toolkit
    world.callbacks = CallbackSender(Outbound(Rules(local=[receiver.host])), [SECRET], clock=world.clock)
    world.boot()
    return world


async def the_question(world: World, run_id: str) -> Approval:
    (approval,) = await world.open_approvals(run_id)
    return approval


@pytest.mark.asyncio
async def test_votes_questions_edits_and_held_messages_go_on(sqlite_url: str, postgres_url: str) -> None:
    async with Receiver() as receiver, house(receiver, sqlite_url) as before:
        receiver.answers = ["410 Gone"]
        recipe = Recipe("refunds", model="gemini-3.8-flash", tools=("refund",))
        recipe = replace(recipe, callbacks=(Callback(receiver.url, tuple(ALL_NEWS), own=True),))
        of = {text: (await before.intake.start(recipe, text, ANNA)).run_id for text in STORIES}
        await before.settle()
        first = {text: await the_question(before, of[text]) for text in of}
        await before.decide(first["voted"], True)
        await before.intake.ask_back(first["asked back"].id, "Why?", by=BEN, entitled_as=BEN.id)
        question, digest = first["edited"].id, first["edited"].digest
        await before.intake.edit(question, {"n": 7}, by=ANNA, entitled_as=ANNA.id, digest=digest)
        await before.settle()
        said = len(receiver.heard)
        moved = Database(postgres_url)
        database_copy.copy(before.database, moved, now=before.clock())
        moved.close()
        async with house(receiver, postgres_url, before) as world:
            (address,) = await world.rows(AddressRow)
            assert address["state"] == AddressState.DISABLED
            assert (await world.decide(first["voted"], True)).refused is not None, "she has voted already"
            await world.intake.answer_back(
                first["asked back"].id, 1, "It broke.", by=ANNA, entitled_as=ANNA.id
            )
            assert (await world.decide(first["edited"], True)).refused is not None, "it was replaced"
            for text in of:
                for person in (ANNA, BEN)[text != "asked back" :]:
                    asked = await the_question(world, of[text])
                    assert (await world.decide(asked, True, by=person)).refused is None
            await world.to_the_end(*of.values())
            assert {(await world.run(r)).status for r in of.values()} == {RunStatus.COMPLETED}
            assert sorted(e.arguments["n"] for e in world.toolkit.ledger) == [1, 1, 7]
            assert len(receiver.heard) == said, "nobody has enabled the address"
            await world.database.write(callback_care.enable, address["id"], timedelta(days=1), world.clock())
            await world.drain()
            assert {r["id"] for r in await world.rows(CallbackRow)} == {h.id for h in receiver.heard}
            assert {str(r["state"]) for r in await world.rows(CallbackRow)} == {"delivered"}
            await world.check(*of.values())
