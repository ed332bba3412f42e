"""From a feed to a published film: drafted by an agent, filmed, sent back by a person, published once."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.cli.stage import ALICE, Setting, Stage, staged
from orchestrator.cli.stories.telling import Json, Teller, asking, follow, triggered
from orchestrator.cli.stories.website import Website
from orchestrator.emulator.serving import running

ENTRY = {
    "title": "The new lamp is here",
    "link": "https://blog.example.com/lamp",
    "summary": "Hand-blown glass, a brass foot, and a light like that of late afternoons.",
}
NOTE = "Darker, please: the lamp should be the only light."
FIELDS = {"title": "entry.title", "summary": "entry.summary", "link": "entry.link"}
TEXT = (
    "The workflow `content` of config.yaml: an entry of a feed is drafted into a post, filmed, shown to a"
    " person, published.\n\n"
    "Not as in real life: the trigger `news`, which stands there commented out, is switched on and reads a"
    " feed on this machine, so it is marked `internal`; Gemini's answers are written down beforehand; and"
    " the CMS, which is a small one of ours, loses its first answer, so that the call comes twice."
)


async def tell(teller: Teller) -> bool:
    """Play it; whether the record is closed and the CMS has published just what was picked, once."""
    teller.begin("From a feed to a film", TEXT)
    site = Website(ENTRY, datetime.now(UTC), lose=1)
    async with running(site.app()) as address:
        trigger = {"workflow": "content", "feed": f"{address}/feed.xml", "internal": True, "input": FIELDS}
        setting = Setting(
            gemini={"scenarios": _drafts(), "think_seconds": 0.3, "video_seconds": 0.6},
            changes={"triggers": {"news": trigger}},
            environ={"CMS_URL": address},
        )
        async with staged(teller.console, teller.host, setting) as stage:
            return await _pipeline(stage, teller, site)


async def _pipeline(stage: Stage, teller: Teller, site: Website) -> bool:
    run_id = await triggered(stage, teller, "news")
    shown: list[str] = []

    async def asked(approval: str, posted: Mapping[str, Any]) -> None:
        shown.append(approval)
        await _answer(stage, teller, posted, again=len(shown) == 1 and teller.verdict == "approve")

    run, _ = await follow(stage, teller, run_id, asked)
    posts = list(site.posts.values())
    rows = [
        ("asked to pick", "once" if len(shown) == 1 else f"{len(shown)} times"),
        ("interactions", str(sum(1 for turn in run["turns"] if turn["interaction_id"]))),
        ("films made", str(len(stage.emulator.ledger()["jobs"]))),
        ("calls the CMS heard", str(site.calls)),
        *((f"published as {post['id']}", f"{post['title']}, with {post['film']}") for post in posts),
    ]
    teller.result(run, rows or [("published", "nothing")])
    return right(run, posts, teller)


def right(run: Json, posts: list[Json], teller: Teller) -> bool:
    """Whether just what was picked is out, once; of a run that was declined, nothing."""
    if run["status"] != "completed":  # somebody declined: then nothing may be out
        return not posts and (teller.verdict == "reject" or not teller.auto)
    return len(posts) == 1 and posts[0]["film"] == run["outputs"]["pick"]["answer"]["file"]


async def _answer(stage: Stage, teller: Teller, posted: Mapping[str, Any], again: bool) -> None:
    reject = teller.verdict == "reject"
    asking(stage, teller, ALICE, "Reject" if reject else "Make it anew…" if again else "the second film")
    if not teller.auto:
        return
    place = {"channel": posted["channel"], "ts": posted["ts"], "user": ALICE}
    if reject or again:
        await stage.slack_does("click", action_id="reject_reason" if reject else "again", **place)
        note = "We have no such lamp." if reject else NOTE
        await stage.slack_does("submit", user=ALICE, values={"reason": {"reason": note}})
    else:
        await stage.slack_does("click", action_id="choose_1", **place)


def _drafts() -> Json:
    """What Gemini says: a draft, and another one once it is told the note."""
    return {
        "scenarios": [
            _draft("the second draft", NOTE, "at night, lit by nothing but itself"),
            _draft("the first draft", ENTRY["title"], "in a bright room"),
        ]
    }


def _draft(name: str, heard: str, scene: str) -> Json:
    angles = (
        "A close look at a brass lamp",
        "A slow walk around a brass lamp",
        "A hand switches on a brass lamp",
    )
    said = {
        "title": ENTRY["title"],
        "text": "Glass, brass and the light of late afternoons: our new lamp has come.",
        "prompts": [f"{angle} {scene}." for angle in angles],
    }
    return {"name": name, "match": {"input_contains": heard}, "turns": [{"text": json.dumps(said)}]}
