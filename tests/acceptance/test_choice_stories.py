"""People choose among finished films: pictures in the thread, made anew with a note, then one press."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from looking import Json, buttons, text_of, until
from stage import ON_SQLITE, Stage, staged

pytestmark = [pytest.mark.asyncio, ON_SQLITE]

DRAWS = """#!/bin/sh
for out; do :; done
printf '\\377\\330\\377 a picture' > "$out"
"""
PROMPTS = {"type": "array", "items": {"type": "string"}}
FILMS: Json = {
    "input": {"type": "object", "required": ["prompts"], "properties": {"prompts": PROMPTS}},
    "steps": [
        {"name": "film", "kind": "video", "arguments": {"prompts": {"from": "input.prompts"}}},
        {
            "name": "pick",
            "kind": "choose",
            "arguments": {"files": {"from": "film.files"}, "question": "Which one goes out?"},
            "again": "film",
        },
    ],
    "overrides": {"generate_video": {"approval": "allow"}},
}


def changes(folder: Path, ffmpeg: str) -> Json:
    return {
        "storage": {"url": str(folder / "files"), "min_free_mb": 0},
        "media": {"ffmpeg": ffmpeg},
        "workflows": {"films": FILMS},
    }


async def pictures(stage: Stage, approval: Json, count: int) -> list[Json]:
    """Under the question, once there are so many."""
    card = stage.message(approval)
    parent = stage.slack.workspace.find(card.channel, card.thread_ts or card.ts)
    assert parent is not None

    async def probe() -> list[Json] | None:
        found = [f for m in stage.slack.workspace.replies(parent) for f in m.files]
        return found if len(found) >= count else None

    return await until(probe, f"{count} pictures")


@asynccontextmanager
async def drawing(folder: Path, database_url: str) -> AsyncIterator[Stage]:
    """A service that makes films in an instant, and has a program that draws pictures of them."""
    program = folder / "ffmpeg"
    program.write_text(DRAWS)
    program.chmod(0o755)
    stand_in = {"video_seconds": 0.2, "video_bytes": 20_000}
    async with staged(folder, database_url, stand_in=stand_in, **changes(folder, str(program))) as stage:
        yield stage


async def test_films_are_seen_made_anew_and_one_is_taken(tmp_path: Path, database_url: str) -> None:
    async with drawing(tmp_path, database_url) as stage:
        run_id = await stage.trigger({"prompts": ["A harbour.", "A fox."]}, "films")
        [first] = await stage.asked(run_id)
        card = stage.message(first)
        assert buttons(card) == ["choose_0", "choose_1", "again", "reject_reason", "ask"]
        assert "Which one goes out?" in text_of(card.blocks)
        shown = await pictures(stage, first, 2)
        assert [f["title"] for f in shown] == ["1", "2"]
        held = stage.slack.uploads.shown(shown[0]["id"])
        assert held is not None
        assert held.content == b"\xff\xd8\xff a picture"

        await stage.press_button(first, "again")
        await stage.slack.submit("U0ALICE", {"reason": {"reason": "Darker."}})
        assert stage.slack.views.stack("U0ALICE") == []
        _, second = await stage.asked(run_id, 2)
        files = second["arguments"]["files"]
        assert not set(files) & set(first["arguments"]["files"])
        await pictures(stage, second, 2)
        path = f"/v1/approvals/{second['id']}/decision"
        unfit = await stage.call("POST", path, json={"verdict": "answer", "answer": {"number": 3}})
        assert (unfit.status_code, "answer.number" in unfit.text) == (400, True)
        await stage.press_button(second, "choose_1")
        run = await stage.ended(run_id)
        assert run["outputs"]["pick"]["answer"] == {"file": files[1], "number": 2}
        await stage.redrawn(second, "Chosen: choice from films")
        assert len(stage.gemini.ledger()["jobs"]) == 4


async def test_without_slacks_leave_it_is_decided_all_the_same(tmp_path: Path, database_url: str) -> None:
    async with drawing(tmp_path, database_url) as stage:
        switches = stage.slack.switches
        switches.scopes = tuple(scope for scope in switches.scopes if scope != "files:write")
        run_id = await stage.trigger({"prompts": ["A harbour."]}, "films")
        [approval] = await stage.asked(run_id)

        async def told() -> bool:
            return "files:write" in text_of(stage.message(approval).blocks)

        await until(told, "a card that says why there is no picture")
        await stage.press_button(approval, "choose_0")
        await stage.ended(run_id)
