"""Slack over a connection of ours, and the inbox: the Home tab and the slash command."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from looking import Json, text_of, until
from scenery import asks, call, says
from stage import ON_SQLITE, Stage, staged
from support.slack_people import Person

from orchestrator.emulator.slack.courier import Click

pytestmark = [pytest.mark.asyncio, ON_SQLITE]


@pytest_asyncio.fixture
async def connected(tmp_path: Path, database_url: str) -> AsyncIterator[Stage]:
    """A stage without a public address and without a signing secret: Slack is heard over a socket."""
    async with staged(tmp_path, database_url, start=False) as made:
        made.slack.switches.socket_mode = True
        del made.environ["SLACK_SIGNING_SECRET"]
        made.environ["SLACK_APP_TOKEN"] = "xapp-local"
        await made.start(slack={"socket_mode": True})
        yield made


async def again(stage: Stage, click: Click) -> Click:
    """The same thing from Slack once more, over whichever socket there is."""
    made = Click(*stage.slack.courier.numbered(click.kind, click.user, click.payload))
    return await stage.slack.courier.deliver(made)


async def reconnected(stage: Stage) -> None:
    """Until the service is connected, and says so."""

    async def probe() -> bool:
        checks = (await stage.http.get(f"{stage.base}/readyz")).json()["checks"]
        told = [c["detail"] for c in checks if c["name"] == "slack_socket"]
        return told == [""] and stage.slack.sockets.connected > 0

    await until(probe, "another socket")


async def test_the_whole_job_without_an_address_of_ours(connected: Stage) -> None:
    stage, alice = connected, Person(connected.slack, "U0ALICE")
    run_id = await stage.play(
        asks(call("charge", item="book", amount=3)),
        asks(call("refund", item="pen", amount=1)),
        says("Charged.", "Not all of it."),
    )
    [charge] = await stage.asked(run_id)

    click = await stage.click(charge)  # a press, by its envelope
    assert (click.error, click.status, bool(click.envelope_id)) == (None, None, True)
    assert (await stage.get(f"/v1/approvals/{charge['id']}"))["status"] == "approved"

    _, refund = await stage.asked(run_id, 2)
    await alice.open("reject_reason", on=stage.message(refund))
    sent = await alice.submit(reason={"reason": "Not in May."})  # a window, answered in its acknowledgement
    assert json.loads(sent.body) == {"response_action": "clear"}

    run = await stage.ended(run_id)
    assert {c["tool"]: c["outcome"] for c in run["calls"]} == {"charge": "succeeded", "refund": "rejected"}
    assert [row["tool"] for row in stage.book()] == ["charge"]
    assert "Not in May." in str(stage.creates(run_id)[2]["body"]["input"])
    await stage.redrawn(charge, "Done: charge")
    answer = await stage.press(click.payload)
    assert answer.status_code == 404  # nobody posts to us, so there is nothing to post to
    assert (await alice.command("/approvals")).error is None
    assert "No question is waiting for you." in alice.whispers()[-1].text


async def test_a_lost_socket_is_replaced_and_nothing_is_decided_twice(connected: Stage) -> None:
    stage = connected
    run_id = await stage.play(asks(call("charge", item="book", amount=3)), says("Charged."))
    [approval] = await stage.asked(run_id)
    pressed = await stage.payload(approval, "reject")  # what Slack had sent when the connection broke
    clicks = [await stage.click(approval)]

    assert await stage.slack.sockets.disconnect("refresh_requested") == 1
    await reconnected(stage)
    clicks += [await again(stage, clicks[0]), await again(stage, clicks[0])]
    late = Click(*stage.slack.courier.numbered("block_actions", "U0ALICE", pressed))
    await stage.slack.courier.deliver(late)

    assert [c.error for c in [*clicks, late]] == [None] * 4
    await stage.ended(run_id)
    verdicts = [e for e in await stage.record(run_id) if e["kind"] == "ApprovalDecided" and not e["refused"]]
    assert [v["data"]["verdict"]["approve"] for v in verdicts] == [True]
    assert len(stage.book()) == 1
    await stage.slack.sockets.disconnect("warning")  # leaves time: the old one is kept until there is another
    await reconnected(stage)
    assert (await again(stage, clicks[0])).error is None


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"type": "brand_new", "payload": {"new": True}}, "brand_new"),
        ({"type": "interactive", "payload": None}, "interactive"),
        ({"type": "events_api"}, "events_api"),
        ({"type": "slash_commands", "payload": []}, "slash_commands"),
        ({"payload": {}}, "None"),
    ],
)
async def test_an_envelope_that_slack_makes_up_tomorrow_is_acknowledged_and_counted(
    connected: Stage, said: Json, kind: str
) -> None:
    """Were it not, Slack would send it again and take the app for broken."""
    envelope_id, answered = connected.slack.sockets.envelope()
    async with asyncio.timeout(5):
        assert await connected.slack.sockets.ask({"envelope_id": envelope_id, **said}, answered) is None
    assert [line["kind"] for line in connected.journal.named("slack_envelope_unknown")] == [kind]
    counted = (await connected.call("GET", "/metrics", token="reader")).text
    assert 'orchestrator_deliveries_total{door="slack",outcome="refused"} 1.0' in counted


async def test_the_home_tab_and_the_command_show_what_waits(stage: Stage) -> None:
    """One question nobody can see in its channel, one that is decided from the Home tab."""
    stage.slack.set_commands_url(f"{stage.base}/slack/commands")
    stage.slack.set_events_url(f"{stage.base}/slack/events")
    assert (await stage.slack.events.verify()).error is None
    await stage.restart(tools={"overrides": {"refund": {"channel": "C0GENERAL"}}})
    alice, dana = Person(stage.slack, "U0ALICE"), Person(stage.slack, "U0DANA")
    charging = await stage.play(asks(call("charge", item="book", amount=3)), says("Charged."))
    run_id = await stage.play(asks(call("refund", item="secret-pen", amount=1)), says("Refunded."))
    [charge], [refund] = await stage.asked(charging), await stage.asked(run_id, shown=False)
    await until(lambda: _troubled(stage, refund["id"]), "a delivery that failed")

    home = text_of((await alice.open_home()).blocks)
    assert "Approval needed: charge" in home
    assert "It could not be shown in <#C0GENERAL>:" in home
    assert "secret-pen" not in home
    assert "Nothing waits for you." in text_of((await dana.open_home()).blocks)

    shown = await alice.sees(lambda: stage.slack.views.home("U0ALICE"), "a Home tab")
    [block] = [b["block_id"] for b in shown.blocks if charge["id"] in b["block_id"] and "accessory" in b]
    assert (await alice.press_at_home("details", block_id=block)).error is None
    assert (await alice.submit()).error is None
    assert (await stage.get(f"/v1/approvals/{charge['id']}"))["status"] == "approved"
    await until(lambda: _lately(stage, "charge"), "the decision on the Home tab")
    event = next(c for c in stage.slack.clicks if c.kind == "event_callback")
    assert (await stage.slack.events.again(event)).error is None  # a second delivery harms nothing

    await alice.command(f"/approvals {refund['id']}")
    assert "Approval needed: refund" in text_of(alice.whispers()[-1].blocks)
    await dana.command(f"/approvals {refund['id']}")
    assert "no open question of that id" in dana.whispers()[-1].text
    await alice.open("details", on=alice.whispers()[-1])
    assert "secret-pen" in text_of(alice.modal().blocks)
    assert (await alice.submit()).error is None
    await stage.ended(run_id)
    await stage.ended(charging)


async def _troubled(stage: Stage, approval: str) -> bool:
    found: Json = await stage.get(f"/v1/approvals/{approval}")
    return bool(found["trouble"])


async def _lately(stage: Stage, tool: str) -> bool:
    home = stage.slack.views.home("U0ALICE")
    lines = text_of(home.blocks).splitlines() if home is not None else []
    return "You decided lately" in lines and any(
        tool in x for x in lines[lines.index("You decided lately") :]
    )
