"""The world in which races are run."""

import asyncio

from support.gemini import Plan
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling

STORIES = {
    "work": (Plan((("lookup", {"n": 1}),)), Plan(output="worked")),
    "ask": (Plan((("refund", {"n": 1}),)), Plan(output="refunded")),
}


def world_on(url: str, **rules: Rule) -> World:
    known = {"lookup": Rule(), "refund": Rule(Ruling.ASK)}
    return World(url, stories=STORIES, rules={**known, **rules})


async def until_at_the_gate(world: World) -> "asyncio.Task[int]":
    """Turn the world until a tool is running; returns the turn that runs it."""
    for _ in range(50):
        task = asyncio.create_task(world.turn())
        gate = asyncio.create_task(world.toolkit.before_effect.wait())
        await asyncio.wait({task, gate}, return_when=asyncio.FIRST_COMPLETED)
        if world.toolkit.before_effect.is_set():
            return task
        gate.cancel()
        world.gemini.move()
        for webhook in world.gemini.take_webhooks():
            await world.deliver(webhook)
    raise AssertionError("no tool ever ran")
