"""What a call would do: on the card before the click, and looked at again behind it."""

import pytest
from looking import Json, buttons, text_of, until
from scenery import asks, call, says
from stage import Stage

pytestmark = pytest.mark.asyncio

STORY = asks(call("discount", item="book", percent=20)), says("Cheaper.", "Not cheaper.")


async def test_a_click_on_yesterdays_picture_is_asked_again_with_todays(stage: Stage) -> None:
    run_id = await stage.play(*STORY)
    [first] = await stage.asked(run_id)
    card = text_of(stage.message(first).blocks)
    assert "What it would do (worked out by the tool)" in card
    assert '"price": "10.00"' in card
    assert '"pieces": 1' in card
    (stage.folder / "stock").write_text("10000")
    await stage.click(first, "approve")

    async def asked_anew() -> Json | None:
        open_now = [a for a in await stage.approvals(run_id) if a["status"] == "pending"]
        told = text_of(stage.message(first).blocks)
        return open_now[0] if open_now and "has changed since it was approved" in told else None

    anew = await until(asked_anew, "a question about what it would do now")
    assert stage.book() == [], "ten thousand pieces nobody had seen"
    assert (anew["revision"], anew["ts"]) == (2, first["ts"])
    assert '"pieces": 1,' in anew["preview"]["before"]
    assert '"pieces": 10000' in anew["preview"]["text"]
    assert buttons(stage.message(anew)) == ["approve", "reject_reason", "details"]
    await stage.click(anew, "approve", "U0BOB")
    assert (await stage.ended(run_id))["output"] == "Cheaper."
    assert [row["tool"] for row in stage.book()] == ["discount"]
