"""A review that risk and legal must both sign: researched, decided by two people, put on record."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from orchestrator.cli.stage import ALICE, PATIENCE_SECONDS, POLL_SECONDS, Setting, Stage, staged
from orchestrator.cli.stories.telling import Json, Teller, asking, follow, start

BOB = "U0BOB"
INPUT = "Northwind Lamps Ltd, registered in Ireland under 559122: supplier of glass, contract over two years."
REASON = "Two of the owners could not be identified."
TEXT = (
    "The workflow `review` of config.yaml: Deep Research about a party, a yes of risk, then one of legal, and"
    " a receipt of the decision.\n\n"
    "Not as in real life: the research takes a second and its sources are invented."
)


async def tell(teller: Teller) -> bool:
    """Play it; whether the record is closed, and one receipt says what was decided, and by whom."""
    teller.begin("Know whom you deal with", TEXT)
    async with staged(teller.console, teller.host, Setting(gemini={"think_seconds": 1.0})) as stage:
        run_id = await start(stage, teller, "review", INPUT)

        async def asked(_: str, posted: Mapping[str, Any]) -> None:
            await _answer(stage, teller, posted)

        run, _ = await follow(stage, teller, run_id, asked)
        receipts = await _receipts(stage, run)
        rows = [("receipt", f"{r['verdict']}: {_who(r) or r['reason']}") for r in receipts]
        teller.result(run, rows)
        said = await stage.command("audit", "show", run_id)
        teller.say(f"\n[bold]orchestrator audit show {run_id}[/]")
        teller.console.print(said, markup=False, highlight=False, soft_wrap=True)
        return _right(run, receipts, teller)


async def _answer(stage: Stage, teller: Teller, posted: Mapping[str, Any]) -> None:
    """Risk first; its yes asks legal, on the same card."""
    reject = teller.verdict == "reject"
    asking(stage, teller, ALICE, "Approve, for risk")
    if not teller.auto:
        teller.say(f"  After that, {stage.page(BOB)} is for legal.\n")
        return
    place = {"channel": posted["channel"], "ts": posted["ts"]}
    await stage.slack_does("click", action_id="approve", user=ALICE, **place)
    asking(stage, teller, BOB, "Reject, for legal" if reject else "Approve, for legal")
    await stage.slack_does("click", action_id="reject_reason" if reject else "approve", user=BOB, **place)
    if reject:
        await stage.slack_does("submit", user=BOB, values={"reason": {"reason": REASON}})


async def _receipts(stage: Stage, run: Json) -> list[Json]:
    """Those on disk; of a review that was not accepted, once the workflow that follows it has ended."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while run["status"] == "failed":
            following = (await stage.get("/v1/runs", workflow="review_refused"))["items"]
            if following and all(r["closed_at"] for r in following):
                break
            await asyncio.sleep(POLL_SECONDS)
    files = sorted((stage.folder / "receipts").glob("*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _who(receipt: Json) -> str:
    return ", then ".join(f"{by['name']} ({by['id']}) for {by['stage']}" for by in receipt["by"])


def _right(run: Json, receipts: list[Json], teller: Teller) -> bool:
    if len(receipts) != 1 or receipts[0]["run"] != run["id"]:
        return False
    receipt = receipts[0]
    if run["status"] != "completed":
        return receipt["verdict"] == "not accepted" and (teller.verdict == "reject" or not teller.auto)
    by = [(one["stage"], one["id"]) for one in receipt["by"]]
    return receipt["verdict"] == "accepted" and by == [("risk", ALICE), ("legal", BOB)]
