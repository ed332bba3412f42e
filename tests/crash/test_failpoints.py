"""Killed between any two steps: every named point, armed with SIGKILL, then a restart without it.

P4, P5, P7 and P10. The run of most cases looks an order up (free, idempotent) and refunds it (gated,
not idempotent): three turns, two calls, one approval.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from laboratory import APPROVER, Laboratory, Wish, laboratory, until

from orchestrator.emulator.slack.inputs import CannotClick
from orchestrator.failpoints import NAMES

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(400)]


@dataclass(frozen=True, slots=True)
class Case:
    """Where it dies, what the run does, and where it must stand afterwards."""

    point: str
    hit: int = 1
    story: str = "refund"
    ends: str = "completed"

    def __str__(self) -> str:
        return f"{self.point}@{self.hit}-{self.story}"


CASES = (
    Case("after_run_stored"),
    Case("after_delivery_stored"),
    Case("after_delivery_taken"),
    Case("after_claim"),
    Case("before_create"),
    Case("before_create", 2),
    Case("after_create"),
    Case("after_create", 2),
    Case("after_fetch"),
    Case("after_observe"),
    Case("after_observe", 2),
    Case("before_preview"),
    Case("after_preview", 2),
    Case("before_tool"),
    Case("before_tool", 2, ends="attention"),  # claimed, never begun: nobody outside can know that
    Case("after_tool"),
    Case("after_tool", 2, ends="attention"),
    Case("after_tool", 2, story="note"),
    Case("after_tool_stored"),
    Case("before_post"),
    Case("after_post"),
    Case("before_update", story="note"),  # beside the running tool, so of one that may run again
    Case("after_update", story="note"),
    Case("after_decision"),
)
DEEP = (
    Case("after_delivery_stored", 2),
    Case("after_delivery_taken", 2),
    Case("after_claim", 2),
    Case("before_create", 3),
    Case("after_create", 3),
    Case("after_fetch", 2),
    Case("before_tool", 2, story="note"),
    Case("after_tool_stored", 2),
    Case("before_update", 2, story="note"),
    Case("after_update", 2, story="note"),
)
"""Later passes of the same points; before a release, with `CRASH_DEEP=1`."""
ELSEWHERE = {
    "after_cancel_stored": "the cancels below",
    "before_job": "a story of the shop has no long jobs: tests/engine/test_crashes and test_long_jobs",
    "after_job": "as before_job",
    "before_harvest": "as before_job",
    "after_harvest": "as before_job",
    "after_callback": "nor a caller to tell: tests/engine/test_callbacks",
    "after_look": "nor triggers: test_month",
    "after_occurrence": "as after_look",
}
ON_POSTGRESQL = (
    Case("after_create", 2),
    Case("after_tool", 2, ends="attention"),
    Case("after_decision"),
)


async def test_every_point_has_its_case() -> None:
    assert {c.point for c in CASES} | ELSEWHERE.keys() == set(NAMES)


@pytest.mark.parametrize("case", CASES + (DEEP if os.environ.get("CRASH_DEEP") else ()), ids=str)
async def test_a_killed_run_goes_on(case: Case, tmp_path: Path, sqlite_url: str) -> None:
    async with laboratory(tmp_path, sqlite_url) as lab:
        await killed_and_restarted(lab, case)


@pytest.mark.parametrize("new_database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("case", ON_POSTGRESQL, ids=str)
async def test_a_killed_run_goes_on_on_postgresql(case: Case, tmp_path: Path, database_url: str) -> None:
    async with laboratory(tmp_path, database_url) as lab:
        await killed_and_restarted(lab, case)


async def killed_and_restarted(lab: Laboratory, case: Case) -> None:
    """The whole of a case."""
    wish = Wish(f"Please {case.story} order A-17.")
    await lab.start(failpoints=f"{case.point}=kill@{case.hit}")
    await lab.ask(wish)  # may die before it answers
    await lab.died(within=20)
    await lab.start()
    run_id = await lab.ask(wish)  # the caller's own retry, under the same key
    assert run_id is not None, lab.said()
    [run] = await lab.settled([run_id])
    assert run["status"] == case.ends, f"{run['reason']}\n{lab.said()}"
    await the_record_is_right(lab, run)


async def the_record_is_right(lab: Laboratory, run: dict[str, Any]) -> None:
    """The ledger's word, one continuation per turn, nothing left to press."""
    lab.judge([run])
    await lab.judge_chain([run])
    await lab.buttons_gone()
    listed = (await lab.api.get("/v1/runs")).json()["items"]
    assert [r["id"] for r in listed] == [run["id"]]
    if run["status"] == "completed":
        assert len(run["turns"]) == 3
        assert len(lab.entries()) == 2


async def cancelled_and_killed(lab: Laboratory, run_id: str) -> None:
    """It dies with the cancel committed and unanswered, and comes back."""
    assert await lab.cancel(run_id) is None, "it should have died before it answered"
    await lab.died(within=5)
    await lab.start()


async def stays_cancelled(lab: Laboratory, run_id: str, effects: int) -> None:
    """The caller asks again and is told that it is so; nothing has started since."""
    assert await lab.cancel(run_id) == 200
    [run] = await lab.settled([run_id], within=5)
    assert run["status"] == "cancelled"
    assert len(lab.entries()) == effects


async def test_a_cancel_stands_though_it_was_never_answered(tmp_path: Path, sqlite_url: str) -> None:
    """While Gemini thinks: the interaction is stopped there within five seconds of the restart."""
    async with laboratory(tmp_path, sqlite_url) as lab:
        await lab.start(failpoints="after_cancel_stored=kill")
        run_id = await lab.ask(Wish("Please ponder."))
        assert run_id is not None

        async def thinking() -> bool:
            return bool((run := await lab.run(run_id)) and run["status"] == "running")

        await until(thinking, 10, "Gemini thinks", told=lab.said)
        await cancelled_and_killed(lab, run_id)
        [interaction] = lab.gemini.interactions.all()

        async def stopped() -> bool:
            return interaction.status == "cancelled"

        await until(stopped, 5, "it is stopped at Gemini", told=lab.said)
        await stays_cancelled(lab, run_id, effects=0)


async def test_a_cancel_withdraws_the_question(tmp_path: Path, sqlite_url: str) -> None:
    """While a person is asked: nothing is left to press, and a press all the same starts nothing."""
    async with laboratory(tmp_path, sqlite_url, clicking=False) as lab:
        await lab.start(failpoints="after_cancel_stored=kill")
        run_id = await lab.ask(Wish("Please refund order A-17."))
        assert run_id is not None

        async def asked() -> bool:
            return bool(lab.live_buttons())

        await until(asked, 10, "a person is asked", told=lab.said)
        [place] = lab.live_buttons()
        await cancelled_and_killed(lab, run_id)
        with suppress(CannotClick):  # it may be redrawn already
            await lab.slack.click(*place, "approve", APPROVER)
        await lab.buttons_gone()
        await stays_cancelled(lab, run_id, effects=1)
