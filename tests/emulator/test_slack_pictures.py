"""The scenes of `python -m bench.cards`: each can be played, and the page shows what it is about."""

import httpx
import pytest

from bench.cards import studio
from bench.scenes import scenes

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("refund", ("What it would do (worked out by the tool)", "given back", "Approve", "Edit…")),
        ("refund confirm", ("Run refund_order?", "Go back")),
        ("window edit on top of the details", ("2 on top of each other", "Propose")),
        ("window edit with an error", ("must be at most 89.90", "100.00")),
        ("several calls approve window", ("Approve 3 calls", "Approve all")),
        ("question answered", ("Answered: question from", "DHL")),
        ("asked back, answered", ("has answered the question", "2 replies")),
        ("window reply empty", ("Your answer", "Write something.")),
        ("digest approve window", ("Approve 3 calls", "5 to be decided")),
        ("choice with pictures", ("Which film goes with the post?", "/files/F0000000", "2. Market hall")),
        ("jobs under way", ("12 of 50 jobs done, 1 failed, about 16 min left",)),
        ("step details", ("Step", "Two lawsuits", "lets the workflow go on")),
        ("home", ("Waits for you", "You decided lately")),
    ],
)
async def test_the_page_shows_what_the_scene_is_about(name: str, told: tuple[str, ...]) -> None:
    async with studio("no browser") as made, httpx.AsyncClient(trust_env=False, timeout=60) as http:
        answer = await http.get(await made.played(scenes()[name]))
        assert answer.status_code == 200
        assert [words for words in told if words not in answer.text] == []
