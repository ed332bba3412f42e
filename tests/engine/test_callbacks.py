"""Callers are told of their runs: signed, at least once, under one id, and never where we must not call."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook
from support.conversation import ANNA
from support.deaths import arm
from support.gemini import Plan
from support.receiver import Heard, Receiver
from support.toolkit import Rule
from support.world import World

from orchestrator.domain.assessment import Ruling
from orchestrator.domain.callbacks import ALL_NEWS, AddressState, Callback, CallbackState, News
from orchestrator.domain.model import Recipe, RunStatus
from orchestrator.domain.values import replace
from orchestrator.outbound import Outbound, Rules
from orchestrator.outbound.callbacks import CallbackSender
from orchestrator.store import callback_care, claims
from orchestrator.store.callbacks import AddressRow, CallbackRow

pytestmark = pytest.mark.asyncio

NEW, OLD = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
STORIES = {
    "refund": (Plan((("refund", {"iban": "canary-argument"}),)), Plan(output="refunded")),
    "hello": (Plan(output="hi"),),
}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WAY = ["approval.requested", "run.waiting", "approval.decided", "run.completed"]


@asynccontextmanager
async def told(url: str, receiver: Receiver, secrets: Sequence[str] = (NEW,)) -> AsyncIterator[World]:
    """A world that may call the receiver."""
    rules = {"refund": Rule(Ruling.ASK)}
    async with World(url, stories=STORIES, rules=rules, roll=lambda: 0.99) as world:
        outbound = Outbound(Rules(local=[receiver.host]))
        world.callbacks = CallbackSender(outbound, secrets, clock=world.clock)
        world.boot()
        yield world


async def start(world: World, url: str, text: str = "refund", events: Collection[News] = ALL_NEWS) -> str:
    recipe = Recipe("refunds", model="gemini-3.8-flash", tools=("refund",))
    recipe = replace(recipe, callbacks=(Callback(url, tuple(events), own=True),))
    return (await world.intake.start(recipe, text, ANNA)).run_id


async def decided(world: World, run_id: str) -> None:
    await world.settle()
    (approval,) = await world.open_approvals(run_id)
    await world.decide(approval, True)
    await world.settle()


async def pass_time(world: World, until: datetime) -> None:
    """Whatever is due till then is done at its time."""
    await world.settle()
    while (due := await world.database.read(claims.next_due)) is not None and due <= until:
        world.clock.reach(due)
        await world.settle()
    world.clock.reach(until)


async def states(world: World) -> list[str]:
    return sorted(str(r["state"]) for r in await world.rows(CallbackRow))


async def the_address(world: World) -> Any:
    (address,) = await world.rows(AddressRow)
    return address


def by_hand(heard: Heard, secret: str) -> str:
    """The signature as the specification words it, by the standard library alone."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{heard.id}.{heard.headers['webhook-timestamp']}.".encode() + heard.body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


async def test_a_caller_hears_of_the_whole_way(database_url: str) -> None:
    async with Receiver() as receiver, told(database_url, receiver) as world:
        run_id = await start(world, receiver.url)
        await decided(world, run_id)
        assert (await world.run(run_id)).status is RunStatus.COMPLETED
        assert sorted(receiver.events) == sorted(WAY)
        assert set(receiver.times.values()) == {1}
        assert {h.data["run"] for h in receiver.heard} == {run_id}
        about = {h.event: h.data for h in receiver.heard}
        assert about["run.completed"]["output"] == "refunded"
        assert about["approval.decided"]["decision"] == "approve"
        assert about["approval.requested"]["tool"] == "refund"
        assert sorted(WAY, key=lambda e: (about[e]["seq"], WAY.index(e))) == WAY
        assert b"canary" not in b"".join(h.body for h in receiver.heard)
        assert receiver.heard[0].path == "/hooks/canary-in-path?token=canary-in-query"
        assert await states(world) == ["delivered"] * 4
        await world.check(run_id)


async def test_signatures_of_all_secrets_go_along_while_they_change(sqlite_url: str) -> None:
    async with Receiver() as receiver, told(sqlite_url, receiver, [NEW, OLD]) as world:
        now = datetime.now(UTC)
        world.clock.reach(now)  # the library looks at its own clock
        await start(world, receiver.url, "hello")
        await world.settle()
        (heard,) = receiver.heard
        assert heard.signatures == [by_hand(heard, NEW), by_hand(heard, OLD)]
        for secret in (NEW, OLD):
            assert Webhook(secret).verify(heard.body, dict(heard.headers)) == json.loads(heard.body)
        changed = heard.body.replace(b"hi", b"ho")
        with pytest.raises(Exception, match="No matching signature"):
            Webhook(NEW).verify(changed, dict(heard.headers))


async def test_only_what_was_asked_for_is_told(sqlite_url: str) -> None:
    async with Receiver() as receiver, told(sqlite_url, receiver) as world:
        await start(world, receiver.url, events=[News.RUN_COMPLETED])
        silent = await world.start("hello")
        await decided(world, next(r for r in await world.statuses() if r != silent))
        assert receiver.events == ["run.completed"]


async def test_a_receiver_that_is_away_for_six_hours_loses_nothing(sqlite_url: str) -> None:
    async with Receiver() as receiver, told(sqlite_url, receiver) as world:
        await receiver.down()
        begun = world.clock()
        runs = [await start(world, receiver.url) for _ in range(2)]
        for run_id in runs:
            await decided(world, run_id)
        await pass_time(world, begun + 6 * HOUR)
        assert receiver.heard == []
        assert await states(world) == ["waiting"] * 8
        tries = [r["attempts"] for r in await world.rows(CallbackRow)]
        assert max(tries) <= 20, "it is left alone more and more"
        assert (await the_address(world))["failing_since"] == begun
        await receiver.up()
        await pass_time(world, begun + 8 * HOUR)
        assert await states(world) == ["delivered"] * 8
        assert sorted(receiver.events) == sorted(WAY * 2)
        assert set(receiver.times.values()) == {1}
        assert (await the_address(world))["failing_since"] is None
        await world.check(*runs)


async def test_what_is_tried_again_keeps_its_id_and_body(sqlite_url: str) -> None:
    async with Receiver() as receiver, told(sqlite_url, receiver) as world:
        receiver.answers = [
            "500 No",
            "302 Found\r\nLocation: http://127.0.0.1:1/",
            "429 Slow\r\nRetry-After: 600",
        ]
        begun = world.clock()
        await start(world, receiver.url, "hello")
        await pass_time(world, begun + 2 * HOUR)
        assert len(receiver.heard) == 4
        assert len({(h.id, h.body) for h in receiver.heard}) == 1
        stamps = [int(h.headers["webhook-timestamp"]) for h in receiver.heard]
        assert len(set(stamps)) == 4
        assert stamps[3] - stamps[2] >= 600
        assert all(h.signatures == [by_hand(h, NEW)] for h in receiver.heard)
        (row,) = await world.rows(CallbackRow)
        assert [e["status"] for e in row["log"]] == [500, 302, 429, 204]
        assert (row["attempts"], row["last_status"], row["error"]) == (4, 204, "")


async def test_a_crash_between_sending_and_writing_sends_again_under_the_same_id(sqlite_url: str) -> None:
    arm("after_callback")
    async with Receiver() as receiver, told(sqlite_url, receiver) as world:
        run_id = await start(world, receiver.url, "hello")
        await world.settle()
        await world.drain()
        assert world.deaths == ["after_callback"]
        (message,) = receiver.times
        assert receiver.times[message] == 2
        assert await states(world) == ["delivered"]
        await world.check(run_id)


async def test_two_workers_send_once(database_url: str) -> None:
    async with Receiver() as receiver, told(database_url, receiver) as world:
        runs = [await start(world, receiver.url, "hello") for _ in range(6)]
        other = world.second_worker()
        for _ in range(40):
            world.gemini.move()
            for webhook in world.gemini.take_webhooks():
                await world.deliver(webhook)
            if sum(await asyncio.gather(world.worker.run_once(), other.run_once())) == 0:
                break
        assert receiver.events == ["run.completed"] * len(runs)
        assert set(receiver.times.values()) == {1}


async def test_news_outlive_the_run(sqlite_url: str) -> None:
    async with Receiver() as receiver, told(sqlite_url, receiver) as world:
        await receiver.down()
        run_id = await start(world, receiver.url)
        await world.settle()
        await world.cancel(run_id)
        await world.settle()
        await receiver.up()
        await world.drain()
        assert sorted(receiver.events) == sorted(
            ["approval.requested", "run.waiting", "approval.decided", "run.cancelled"]
        )
        withdrawn = next(h.data for h in receiver.heard if h.event == "approval.decided")
        assert (withdrawn["status"], withdrawn["decision"]) == ("withdrawn", None)
        await world.check(run_id)


async def test_an_address_that_fails_for_long_is_disabled_and_healed_by_a_person(sqlite_url: str) -> None:
    async with Receiver() as receiver, told(sqlite_url, receiver) as world:
        await receiver.down()
        begun = world.clock()
        for hours in (23, 47, 71, 78):
            await start(world, receiver.url, "hello")
            await pass_time(world, begun + hours * HOUR)
        address = await the_address(world)
        assert address["state"] == AddressState.DISABLED
        assert "2026-11-21 12:00" in address["why"]
        assert await states(world) == ["failed", "failed", "failed", "held"]
        await start(world, receiver.url, "hello")
        await world.settle()
        assert await states(world) == ["failed", "failed", "failed", "held", "held"]
        await receiver.up()
        await pass_time(world, begun + 80 * HOUR)
        assert receiver.heard == [], "only a person wakes it"
        healed = await world.database.write(callback_care.enable, address["id"], DAY, world.clock())
        assert (healed[0]["state"], healed[0]["held"], healed[1:]) == ("active", 0, (2, 0))
        await pass_time(world, world.clock() + timedelta(minutes=1))
        assert receiver.events == ["run.completed"] * 2
        (given_up, *_) = [r for r in await world.rows(CallbackRow) if r["state"] == "failed"]
        await world.database.write(callback_care.replay, given_up["id"], ANNA, world.clock())
        await world.settle()
        assert receiver.heard[-1].id == given_up["id"]


async def test_what_was_held_too_long_is_given_up(sqlite_url: str) -> None:
    async with Receiver() as receiver, told(sqlite_url, receiver) as world:
        receiver.answers = ["410 Gone"]
        await start(world, receiver.url, "hello")
        await world.settle()
        address = await the_address(world)
        assert (address["state"], address["why"]) == (
            AddressState.DISABLED,
            "it answered 410: it wants no more",
        )
        world.clock.advance(2 * DAY)
        await start(world, receiver.url, "hello")
        await world.settle()
        assert len(receiver.heard) == 1
        healed = await world.database.write(callback_care.enable, address["id"], DAY, world.clock())
        assert healed[1:] == (1, 1)
        await world.settle()
        assert await states(world) == [CallbackState.DELIVERED, CallbackState.FAILED]


async def test_a_name_that_moves_to_a_private_place_is_not_called(sqlite_url: str) -> None:
    opened: list[str] = []

    async def rebound(host: str, port: int) -> Sequence[str]:
        return ["93.184.216.34", "169.254.169.254"]

    def no_sockets(info: Any) -> socket.socket:
        opened.append(info[4][0])
        raise OSError

    async with Receiver() as receiver, told(sqlite_url, receiver) as world:
        outbound = Outbound(resolve=rebound, sockets=no_sockets)
        world.callbacks = CallbackSender(outbound, [NEW], clock=world.clock)
        world.boot()
        run_id = await start(world, "https://hooks.example.com/x", "hello")
        await start(world, receiver.url, "hello")  # allowed when it was given, and not any more
        await world.settle()
        assert await states(world) == ["failed", "failed"]
        assert (opened, receiver.heard) == ([], [])
        await world.check(run_id)


async def test_without_a_secret_nothing_is_sent(sqlite_url: str) -> None:
    async with Receiver() as receiver, told(sqlite_url, receiver) as world:
        world.callbacks = None
        world.boot()
        await start(world, receiver.url, "hello")
        await world.settle()
        (row,) = await world.rows(CallbackRow)
        assert (row["state"], row["error"]) == (
            CallbackState.WAITING,
            "callbacks.secrets is not set, so nothing can be signed",
        )
