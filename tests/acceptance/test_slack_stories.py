"""People in Slack: who may decide, what counts, what they see, and Slack in trouble."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from looking import Json, buttons, headline_of, stays, text_of, until
from scenery import SIGNING_SECRET, asks, call, says
from stage import ON_SQLITE, ONE_PROCESS, Stage, staged

pytestmark = pytest.mark.asyncio

STORY = asks(call("charge", item="book", amount=3)), says("Charged.", "Not charged.")


async def _pending(stage: Stage, approval: Json) -> bool:
    now = await stage.get(f"/v1/approvals/{approval['id']}")
    return bool(now["status"] == "pending") and stage.book() == []


async def test_who_may_not_decide_is_told_so_alone(stage: Stage) -> None:
    run_id = await stage.play(*STORY)
    [approval] = await stage.asked(run_id)
    click = await stage.click(approval, "approve", "U0DANA")
    assert click.status == 200
    assert "not an approver for charge" in await stage.told("U0DANA")
    assert stage.whispers("U0ALICE") == []
    await stays(lambda: _pending(stage, approval))
    assert buttons(stage.message(approval)) == ["approve", "reject_reason", "details"]
    refused = await stage.event(run_id, "ApprovalDecided")
    assert refused["refused"] == "not_entitled"
    await stage.click(approval, "approve", "U0BOB")
    await stage.ended(run_id)
    assert [row["approved_by"] for row in stage.book()] == ["U0BOB"]


Alter = Callable[[Json], Any]


def _value(to: Callable[[list[str]], list[str]]) -> Alter:
    def alter(payload: Json) -> None:
        action = payload["actions"][0]
        action["value"] = "|".join(to(action["value"].split("|")))

    return alter


def _both(payload: Json) -> None:
    payload["actions"].append({**payload["actions"][0], "action_id": "reject"})


ALTERED: dict[str, tuple[Alter, int]] = {
    "another workspace": (lambda p: p["team"].update(id="T0OTHER"), 403),
    "no workspace": (lambda p: p.update(team=None), 403),
    "another app": (lambda p: p.update(api_app_id="A0OTHER"), 403),
    "an outsider": (lambda p: p["user"].update(team_id="T0OTHER"), 200),
    "a bot": (lambda p: p["user"].update(is_bot=True), 403),
    "nobody": (lambda p: p.update(user=None), 400),
    "a user of a wrong type": (lambda p: p["user"].update(id=["U0ALICE"]), 400),
    "another digest": (_value(lambda v: [v[0], v[1], "0" * 16]), 200),
    "another revision": (_value(lambda v: [v[0], "2", v[2]]), 200),
    "another question": (_value(lambda v: ["apr_0123456789abcdef", v[1], v[2]]), 200),
    "a shorter digest": (_value(lambda v: [v[0], v[1], v[2][:8]]), 200),
    "no value": (lambda p: p["actions"][0].pop("value"), 400),
    "both at once": (_both, 400),
    "an unknown button": (lambda p: p["actions"][0].update(action_id="approve_all"), 200),
    "not a button": (lambda p: p["actions"][0].update(type="overflow"), 200),
    "a form": (lambda p: p.update(type="view_submission"), 200),
}


@ON_SQLITE
async def test_altered_clicks_decide_nothing(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, slack={"app_id": "A0LOCAL"}) as stage:
        run_id = await stage.play(*STORY)
        [approval] = await stage.asked(run_id)
        for name, (alter, status) in ALTERED.items():
            payload = await stage.payload(approval)
            alter(payload)
            assert (await stage.press(payload)).status_code == status, name
        honest = await stage.payload(approval)
        for wrong in (
            {"secret": "another secret"},
            {"late": 301},
            {"late": -301},
            {"x-slack-signature": "v0="},
            {"x-slack-request-timestamp": "now"},
        ):
            assert (await stage.press(honest, **wrong)).status_code == 401, wrong
        await stays(lambda: _pending(stage, approval))
        assert (await stage.press(honest)).status_code == 200
        assert (await stage.ended(run_id))["output"] == "Charged."
        assert len(stage.book()) == 1


@ON_SQLITE
async def test_arguments_in_a_click_are_not_looked_at(stage: Stage) -> None:
    run_id = await stage.play(*STORY)
    [approval] = await stage.asked(run_id)
    payload = await stage.payload(approval)
    payload["arguments"] = payload["actions"][0]["arguments"] = {"item": "house", "amount": 10**6}
    payload["message"]["blocks"] = []
    payload["state"] = {"values": {"a": {"amount": {"type": "plain_text_input", "value": "9"}}}}
    assert (await stage.press(payload)).status_code == 200
    await stage.ended(run_id)
    assert [(row["item"], row["amount"]) for row in stage.book()] == [("book", 3)]


async def test_a_double_click_is_one_decision(stage: Stage) -> None:
    run_id = await stage.play(*STORY)
    [approval] = await stage.asked(run_id)
    payload = await stage.payload(approval)
    answers = await asyncio.gather(*(stage.press(payload) for _ in range(6)))
    assert {a.status_code for a in answers} == {200}
    await stage.ended(run_id)
    decided = [e for e in await stage.record(run_id) if e["kind"] == "ApprovalDecided"]
    assert [e["refused"] for e in decided].count(None) == 1
    assert len(stage.book()) == 1
    assert stage.whispers("U0ALICE") == []  # who pressed twice is told nothing


async def test_of_two_people_at_once_the_first_decides(stage: Stage) -> None:
    """Over several questions, so that either may be the first."""
    calls = [call("charge", f"c-{n}", item=f"book {n}", amount=n) for n in range(8)]
    run_id = await stage.play(asks(*calls), says("Done."))
    for approval in await stage.asked(run_id, 8):
        yes = await stage.payload(approval, "approve", "U0ALICE")
        no = await stage.payload(approval, "reject", "U0BOB")
        presses = [stage.press(yes), stage.press(no)]
        answers = await asyncio.gather(*(presses if approval["arguments"]["amount"] % 2 else presses[::-1]))
        assert {a.status_code for a in answers} == {200}
    run = await stage.ended(run_id)
    approvals = await stage.approvals(run_id)
    verdicts = {a["arguments"]["amount"]: a["verdict"] for a in approvals}
    assert len(verdicts) == 8
    assert {v["by"]["id"] for v in verdicts.values() if v["approve"]} <= {"U0ALICE"}
    assert {v["by"]["id"] for v in verdicts.values() if not v["approve"]} <= {"U0BOB"}
    approved = sorted(amount for amount, v in verdicts.items() if v["approve"])
    assert sorted(row["amount"] for row in stage.book()) == approved
    assert {c["outcome"] for c in run["calls"]} <= {"succeeded", "rejected"}
    decided = [e for e in await stage.record(run_id) if e["kind"] == "ApprovalDecided"]
    assert len(decided) == 16
    assert [e["refused"] for e in decided].count(None) == 8

    async def all_told() -> bool:
        return len(stage.whispers("U0ALICE")) + len(stage.whispers("U0BOB")) == 8

    await until(all_told, "a word to each who came second")
    told = stage.whispers("U0ALICE") + stage.whispers("U0BOB")
    assert all(text.startswith(("Already approved by", "Already rejected by")) for text in told), told


async def test_a_click_that_comes_too_late_is_told_so(stage: Stage) -> None:
    runs = {name: await stage.play(*STORY) for name in ("expired", "overdue", "cancelled", "decided")}
    asked = {name: (await stage.asked(run_id))[0] for name, run_id in runs.items() if name != "overdue"}
    presses = {name: await stage.payload(approval) for name, approval in asked.items()}
    assert (await stage.cancel(runs["cancelled"])).status_code == 200
    await stage.redrawn(asked["cancelled"], "Withdrawn")
    assert (await stage.press(presses["cancelled"])).status_code == 200
    assert await stage.told("U0ALICE", 1) == "This is no longer active."
    assert (await stage.decide(asked["decided"]["id"], "reject", "dana")).status_code == 403
    assert (await stage.decide(asked["decided"]["id"], "reject")).status_code == 200
    await stage.ended(runs["decided"])
    assert (await stage.press(presses["decided"])).status_code == 200
    assert (await stage.told("U0ALICE", 2)).startswith("Already rejected by operator at ")
    stage.skip(3601)
    await stage.ended(runs["expired"])
    assert (await stage.press(await _fresh(stage, presses["expired"]))).status_code == 200
    assert await stage.told("U0ALICE", 3) == "This is no longer active."
    assert stage.book() == []


async def _fresh(stage: Stage, payload: Json) -> Json:
    """The same press with a response address that has not run out meanwhile."""
    found = stage.slack.interactivity._response_url("U0ALICE", next(iter(stage.slack.workspace.listed())))
    return {**payload, "response_url": found}


async def test_time_decides_even_before_its_timer_rings(stage: Stage) -> None:
    run_id = await stage.play(*STORY)
    [approval] = await stage.asked(run_id)
    await stage.stop_working()  # no timer rings
    stage.skip(3600)
    assert (await stage.click(approval)).status == 200
    assert (await stage.approvals(run_id))[0]["status"] == "expired"
    await stage.restart()
    assert (await stage.ended(run_id))["output"] == "Not charged."
    assert stage.book() == []


TROUBLE: list[tuple[Any, dict[str, Any]]] = [
    ("status", {"status": 503}),
    ("status", {"status": 429, "retry_after": 2}),
    ("ok_false", {"error": "internal_error"}),
    ("reset", {}),
    ("html", {}),
    ("hang", {"seconds": 60}),
    ("ok_false", {"error": "invalid_auth"}),
]


@ON_SQLITE
async def test_slack_down_delays_a_question_and_posts_it_once(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, slack={"timeout_seconds": 0.3}) as stage:
        for kind, more in TROUBLE:
            stage.slack.fault("chat.postMessage", kind, count=2, **more)
            run_id = await stage.play(*STORY)
            [approval] = await stage.asked(run_id, shown=False)
            shown = await _shown_in_time(stage, run_id, f"{kind}, {more}")
            assert [m.ts for m in stage.messages(approval["id"])] == [shown["ts"]], (kind, more)
            assert stage.slack.faults.pending() == []
            await stage.click(shown)
            await stage.ended(run_id)


async def _shown_in_time(stage: Stage, run_id: str, trouble: str) -> Json:
    """The run's question once it is in Slack, while time passes quickly."""

    async def probe() -> Json | None:
        stage.skip(3)
        [approval] = await stage.approvals(run_id)
        return approval if approval["ts"] else None

    return await until(probe, f"the question in Slack after {trouble}")


@ON_SQLITE
@ONE_PROCESS
async def test_slack_asking_to_slow_down_is_obeyed(stage: Stage) -> None:
    stage.slack.fault("chat.postMessage", "status", status=429, retry_after=1)
    first = await stage.play(*STORY)

    async def refused() -> bool:
        return not stage.slack.faults.pending()

    await until(refused, "the refusal")
    second = await stage.play(*STORY)  # another question for the same channel waits too
    for run_id in (first, second):
        await stage.asked(run_id)
    no, *posts = [c for c in stage.slack.calls if c.method == "chat.postMessage"]
    assert [c.outcome for c in (no, *posts)] == ["status", "ok", "ok"]
    assert all(post.at - no.at >= 1 for post in posts)


async def test_a_post_whose_answer_got_lost_is_found_again(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, slack={"timeout_seconds": 0.3}) as stage:
        kinds: tuple[Any, ...] = ("accept_then_reset", "status", "html", "hang")
        for kind in kinds:
            stage.slack.fault("chat.postMessage", kind, stored=True, seconds=60)
            run_id = await stage.play(*STORY)
            [approval] = await stage.asked(run_id, shown=False)
            approval = await _shown_in_time(stage, run_id, str(kind))
            [message] = stage.messages(approval["id"])
            assert message.ts == approval["ts"], kind
            await stage.click(approval)
            await stage.ended(run_id)
            await stage.redrawn(approval, "Done")


async def test_a_question_settled_while_its_post_was_lost_keeps_no_live_button(stage: Stage) -> None:
    stage.slack.fault("chat.postMessage", "accept_then_reset")
    run_id = await stage.play(*STORY)
    [approval] = await stage.asked(run_id, shown=False)
    await until(lambda: stage.was_posted(approval["id"]), "the message nobody knows of")
    assert (await stage.decide(approval["id"], "reject")).status_code == 200
    await stage.ended(run_id)
    stage.skip(5)
    [message] = stage.messages(approval["id"])

    async def drawn() -> bool:
        return headline_of(message) == "Rejected: charge"

    await until(drawn, "the news in the message")
    assert buttons(message) == ["details"]


@ON_SQLITE
async def test_where_slack_will_not_have_it_the_other_doors_stay_open(stage: Stage) -> None:
    stage.slack.fault("chat.postMessage", "ok_false", error="not_in_channel")
    run_id = await stage.play(*STORY)
    await stage.event(run_id, "ApprovalUndelivered")
    [approval] = await stage.approvals(run_id)
    assert approval["status"] == "pending"  # never an approval, never a rejection
    assert "invite" in approval["trouble"]
    assert stage.journal.named("run_needs_a_look")
    assert (await stage.decide(approval["id"])).status_code == 200
    await stage.ended(run_id)
    assert len(stage.book()) == 1


async def last_picture(stage: Stage, approval: Json) -> None:
    async def drawn() -> bool:
        stage.skip(1)
        return headline_of(stage.message(approval)) == "Done: charge"

    await until(drawn, "the last picture")


@ON_SQLITE
async def test_a_redraw_that_fails_is_done_later(stage: Stage) -> None:
    stage.slack.fault("chat.update", "status", status=500, count=4)
    stage.slack.fault("chat.update", "status", status=429, retry_after=2)
    run_id = await stage.play(*STORY)
    [approval] = await stage.asked(run_id)
    assert (await stage.click(approval)).status == 200
    await stage.ended(run_id)  # which waits for no picture

    await last_picture(stage, approval)
    shown = text_of(stage.message(approval).blocks)
    assert "<@U0ALICE>" in shown
    assert "Slack" in shown


@ON_SQLITE
async def test_what_a_message_has_shown(stage: Stage) -> None:
    """Each state in words; buttons go with the first that is not a question."""
    run_id = await stage.play(asks(call("charge", item="book", amount=3)), says("Done."))
    [approval] = await stage.asked(run_id)
    await stage.click(approval)
    await stage.ended(run_id)
    message = await stage.redrawn(approval, "Done")
    looks = [str(look["blocks"][0]["text"]["text"]) for look in message.past] + [headline_of(message)]
    assert looks[0] == "Approval needed: charge"
    assert set(looks[1:]) <= {"Approved: charge", "Approved and running: charge", "Done: charge"}
    assert '"item": "book"' in text_of(message.blocks)  # what was decided about stays to be seen
    assert "charge" in message.text
    assert "book" not in message.text  # lock screens show no arguments


async def test_hostile_arguments_are_shown_and_change_nothing_else(stage: Stage) -> None:
    item = "<!channel> <https://evil.example|Approve here> `x` :tada: \u202eback\u200b *bold*"
    run_id = await stage.play(asks(call("charge", item=item, amount=3)), says("Done."))
    [approval] = await stage.asked(run_id)
    message = stage.message(approval)
    marked = text_of([b for b in message.blocks if b["type"] != "rich_text"])
    shown = text_of([b for b in message.blocks if b["type"] == "rich_text"])
    assert "evil.example" not in marked + message.text
    assert "\u202e" not in shown + marked
    assert "u{202E}" in shown
    await stage.click(approval)
    await stage.ended(run_id)
    assert [row["item"] for row in stage.book()] == [item]  # what runs is what was asked, unaltered


@ON_SQLITE
async def test_what_does_not_fit_is_not_approved_blindly(stage: Stage) -> None:
    run_id = await stage.play(asks(call("charge", item="x" * 30_000, amount=3)), says("Done."))
    [approval] = await stage.asked(run_id)
    assert "approve" not in buttons(stage.message(approval))
    assert (await stage.get(f"/v1/approvals/{approval['id']}"))["arguments"]["item"] == "x" * 30_000
    assert (await stage.decide(approval["id"], digest=approval["digest"][:16])).status_code == 200
    await stage.ended(run_id)
    assert len(stage.book()) == 1


@ON_SQLITE
async def test_slack_may_be_away_when_somebody_decides(stage: Stage) -> None:
    run_id = await stage.play(*STORY)
    [approval] = await stage.asked(run_id)
    stage.slack.fault("*", "reset", count=6)
    assert (await stage.click(approval)).status == 200
    await stage.ended(run_id)
    assert len(stage.book()) == 1

    await last_picture(stage, approval)


@ON_SQLITE
async def test_clicks_count_once_the_workspace_is_known(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url) as stage:
        run_id = await stage.play(*STORY)
        [approval] = await stage.asked(run_id)
        payload = await stage.payload(approval)
        await stage.stop()
        stage.slack.fault("auth.test", "ok_false", error="internal_error", count=1000)  # whoever asks
        starting = asyncio.create_task(stage.start())
        await until(lambda: _listening(stage), "the port")
        assert (await stage.press(payload)).status_code == 403
        stage.slack.faults.clear()
        await starting  # Slack has told who we are
        assert (await stage.press(payload)).status_code == 200
        await stage.ended(run_id)


async def _listening(stage: Stage) -> bool:
    try:
        checks = (await stage.http.get(f"{stage.base}/readyz")).json()["checks"]
    except httpx.ConnectError:
        return False
    return any("has not answered" in check["detail"] for check in checks)


@ON_SQLITE
async def test_signing_secrets_rotate(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, start=False) as stage:
        stage.environ["SLACK_SIGNING_SECRET"] = f"the-next-one-0123 {SIGNING_SECRET}"
        await stage.start()
        for secret in (SIGNING_SECRET, "the-next-one-0123"):
            run_id = await stage.play(*STORY)
            [approval] = await stage.asked(run_id)
            payload = await stage.payload(approval)
            assert (await stage.press(payload, secret="neither")).status_code == 401
            assert (await stage.press(payload, secret=secret)).status_code == 200
            await stage.ended(run_id)


@ON_SQLITE
async def test_without_slack_people_decide_by_api(tmp_path: Path, database_url: str) -> None:
    async with staged(tmp_path, database_url, slack={"enabled": False}) as stage:
        run_id = await stage.play(*STORY)
        [approval] = await stage.asked(run_id, shown=False)
        assert (await stage.press({"type": "block_actions"})).status_code == 404
        assert (await stage.decide(approval["id"], token="alice")).status_code == 200
        await stage.ended(run_id)
        assert [row["approved_by"] for row in stage.book()] == ["U0ALICE"]
        assert stage.slack.calls == []
