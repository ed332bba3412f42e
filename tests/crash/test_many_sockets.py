"""Several processes at one Slack app over Socket Mode: each click counts once, whoever of them hears it."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from laboratory import APPROVER, CHANNEL, Laboratory, Process, Wish, laboratory, until
from support.ports import own_port
from support.slack_people import Person

from orchestrator.emulator.slack.courier import Click

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]


@asynccontextmanager
async def two_ears(
    folder: Path, url: str, *, failpoints: str = ""
) -> AsyncIterator[tuple[Laboratory, Process]]:
    """Two processes that answer over sockets, the second with those failpoints, and one that works."""
    async with laboratory(folder, url, clicking=False, slack={"socket_mode": True}) as lab:
        lab.slack.switches.socket_mode = True
        lab.command_line = ("serve", "--web")
        lab.more = {"SLACK_APP_TOKEN": lab.slack.settings.app_token}
        await lab.start()
        armed = {"GEMINI_ORCHESTRATOR_FAILPOINTS": failpoints} if failpoints else {}
        env = lab.environment(ORCHESTRATOR_SERVER__PORT=str(own_port()), **armed)
        second = lab.workers["second"] = await lab.command("serve", "--web", env=env)
        await lab.hire("w0")
        await lab.at_work("w0")
        await both_heard(lab)
        yield lab, second


async def both_heard(lab: Laboratory) -> None:
    async def connected() -> bool:
        return lab.slack.sockets.connected == 2

    await until(connected, 20, "two sockets", told=lab.said)


async def asked(lab: Laboratory, count: int) -> tuple[list[str], list[str]]:
    """So many runs, and the messages that ask for them."""
    run_ids = [str(await lab.ask(Wish("Please note order A-17."))) for _ in range(count)]

    async def all_asked() -> bool:
        return len(lab.live_buttons()) == count

    await until(all_asked, 30, f"{count} questions", told=lab.said)
    return run_ids, [ts for _, ts in lab.live_buttons()]


async def click(lab: Laboratory, ts: str, action: str = "approve") -> Click:
    return await lab.slack.click(CHANNEL, ts, action, APPROVER)


async def decisions(lab: Laboratory, run_id: str) -> list[bool]:
    """The verdicts that counted, of a run's record."""
    events: Sequence[dict[str, Any]] = (await lab.api.get(f"/v1/runs/{run_id}/events?limit=100")).json()[
        "items"
    ]
    counted = [e for e in events if e["kind"] == "ApprovalDecided" and not e["refused"]]
    return [e["data"]["verdict"]["approve"] for e in counted]


def redrawn(lab: Laboratory) -> Counter[str]:
    """How often each picture of a message was sent again."""
    sent = [c.args for c in lab.slack.calls if c.method == "chat.update" and c.outcome == "ok"]
    return Counter(json.dumps([a["ts"], a.get("blocks"), a.get("attachments")], sort_keys=True) for a in sent)


async def test_each_click_counts_once_and_each_window_is_answered_by_who_has_it(
    tmp_path: Path, postgres_url: str
) -> None:
    async with two_ears(tmp_path, postgres_url) as (lab, _):
        run_ids, messages = await asked(lab, 9)
        approved, twice, refused = messages[:3], messages[3:6], messages[6:]
        clicks = [await click(lab, ts) for ts in approved]
        for ts in twice:  # two presses at once: one to each
            clicks += await asyncio.gather(click(lab, ts), click(lab, ts))
        anna = Person(lab.slack, APPROVER)
        for ts in refused:  # opened by one of them, sent off to the other
            found = lab.slack.workspace.find(CHANNEL, ts)
            await anna.open("reject_reason", on=found)
            sent = await anna.submit(reason={"reason": "Not in May."})
            assert json.loads(sent.body) == {"response_action": "clear"}
            clicks.append(sent)
        assert [c.error for c in clicks] == [None] * len(clicks)
        await lab.settled(run_ids)
        assert Counter(entry.tool for entry in lab.entries())["send_note"] == 6
        await lab.buttons_gone()
        verdicts = [await decisions(lab, run_id) for run_id in run_ids]
        assert sorted(map(tuple, verdicts)) == [(False,)] * 3 + [(True,)] * 6
        assert set(redrawn(lab).values()) == {1}


async def test_a_click_that_was_committed_outlives_who_did_not_live_to_acknowledge_it(
    tmp_path: Path, postgres_url: str
) -> None:
    async with two_ears(tmp_path, postgres_url, failpoints="after_decision=kill") as (lab, second):
        run_ids, messages = await asked(lab, 6)
        clicks = [await click(lab, ts) for ts in messages]
        assert await second.wait() < 0
        assert len([c for c in clicks if c.error]) == 1, [c.error for c in clicks]
        runs = await lab.settled(run_ids)
        lab.judge(runs)
        await lab.buttons_gone()
        assert [await decisions(lab, run_id) for run_id in run_ids] == [[True]] * 6
        assert set(redrawn(lab).values()) == {1}
