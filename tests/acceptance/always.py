"""What must hold after every story, whatever happened in it."""

from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from looking import Json, buttons, metadata, until
from scenery import HOOK_SECRET, TOKENS, token_text

if TYPE_CHECKING:
    from stage import Stage

SLACK = timedelta(seconds=30)
"""An event's time is read before it waits for its run's row, so two that race may be noted a little apart."""
OURS = "orchestrator:"
"""Begins the ids of the run's own questions, of which Gemini is told nothing."""
ENDED = ("completed", "failed", "cancelled")
TROUBLE = ("effect_failed", "worker_failed", "request_failed", "whisper_failed", "lease_renewal_failed")
"""Log lines that say that something was not foreseen."""
GATED = {"charge", "refund"}


async def check(stage: "Stage") -> None:
    """After every story: nothing twice, nothing unforeseen, records without gaps."""
    strange = [x for x in stage.journal.lines if x["event"] in TROUBLE and x["event"] not in stage.foreseen]
    assert not strange, strange
    told = str(stage.journal.lines)
    assert not [name for name, secret in secrets(stage).items() if secret in told]
    twice = {key: n for key, n in Counter(row["key"] for row in stage.book()).items() if n > 1}
    assert not twice, f"done more than once: {twice}"
    taken = [tuple(sorted(i.request.metadata.items())) for i in stage.gemini.interactions.all()]
    assert len(set(taken)) == len(taken), "one attempt was taken twice by Gemini"
    if stage.running:
        for summary in (await stage.get("/v1/runs", limit=100))["items"]:
            await _check_run(stage, await stage.run(summary["id"]))


def secrets(stage: "Stage") -> dict[str, str]:
    """What must never stand in a log."""
    variables = ("GEMINI_API_KEY", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN")
    kept = {f"{name} {n}": s for name in variables for n, s in enumerate(stage.environ.get(name, "").split())}
    tokens = {name: token_text(name) for name in TOKENS}
    return {**kept, **tokens, "webhook": HOOK_SECRET.removeprefix("whsec_")}


async def _check_run(stage: "Stage", run: Json) -> None:
    events = await stage.record(run["id"])
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert events[0]["kind"] == "RunRequested"
    times = [datetime.fromisoformat(e["at"]) for e in events]
    assert all(b - a > -SLACK for a, b in pairwise(times)), times
    assert events[-1]["status"] == run["status"]
    if run["status"] in ENDED:
        assert run["closed_at"] is not None
    for approval in await stage.approvals(run["id"]):
        await _check_question(stage, approval, run)
    by_id = {c["id"]: c for c in run["calls"]}
    for row in stage.book():
        if row["key"] in by_id:
            _check_effect(row, by_id[row["key"]])
    _check_results(stage, run)


async def _check_question(stage: "Stage", approval: Json, run: Json) -> None:
    """A question has one message where it is shown, and no live button once it is none."""
    places = Counter(m.channel for m in stage.messages(approval["id"]))
    assert max(places.values(), default=1) == 1, places
    assert (approval["status"] == "pending") <= (run["status"] not in ENDED)
    if places and approval["status"] != "pending":

        async def spent() -> bool:
            left = {b for m in stage.messages(approval["id"]) for b in buttons(m)}
            return left <= {"details"}  # which only shows something

        await until(spent, f"a message without live buttons about {approval['id']}")


def _check_effect(row: Json, call: Json) -> None:
    """Nothing happens that was not allowed to."""
    assert call["tool"] == row["tool"]
    if row["tool"] in GATED:
        assert call["approval"]["status"] == "approved", call
    assert row["tool"] != "demolish"


def _check_results(stage: "Stage", run: Json) -> None:
    """Each continuation names the interaction before it, and exactly its calls."""
    turns = {t["number"]: t for t in run["turns"]}
    for request in stage.creates(run["id"]):
        body, number = request["body"], metadata(request["body"])["turn"]
        assert body.get("previous_interaction_id") == turns[number]["previous_id"]
        if number > 1 and "continuation_token" not in body:
            before = [c["call_id"] for c in run["calls"] if c["turn"] == number - 1]
            wanted = sorted(c for c in before if not c.startswith(OURS))
            answered = body["input"] if wanted else []  # after a plan it is what people said
            assert sorted(step["call_id"] for step in answered) == wanted
