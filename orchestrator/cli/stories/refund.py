"""A refund that a person must approve: the whole job, in small."""

from collections.abc import Mapping
from typing import Any

from orchestrator.cli.stage import ALICE, Stage, staged
from orchestrator.cli.stories.telling import Teller, asking, follow, start

INPUT = "Order A-1042 arrived broken. Please refund it."


async def tell(teller: Teller) -> bool:
    """Play it; whether the record closed as it should and the shop's own ledger says the same."""
    async with staged(teller.console, teller.host) as stage:
        run_id = await start(stage, teller, "refund", INPUT)

        async def asked(_: str, posted: Mapping[str, Any]) -> None:
            await _answer(stage, teller, posted)

        run, _ = await follow(stage, teller, run_id, asked)
        refunds = _refunds(stage)
        teller.result(run, [*_rows(run), ("refunds in the shop's own ledger", str(refunds))])
        paid = sum(c["tool"] == "refund_order" and c["outcome"] == "succeeded" for c in run["calls"])
        return bool(run["status"] == "completed" and refunds == paid)


async def _answer(stage: Stage, teller: Teller, posted: Mapping[str, Any]) -> None:
    asking(stage, teller, ALICE, teller.verdict.title())
    if not teller.auto:
        return
    asks = teller.verdict == "reject"  # the button opens a window, in which a reason may be given
    press = {"channel": posted["channel"], "ts": posted["ts"], "user": ALICE}
    await stage.slack_does("click", action_id="reject_reason" if asks else "approve", **press)
    if asks:
        typed = {"reason": {"reason": "Not without a photo of the damage."}}
        await stage.slack_does("submit", user=ALICE, values=typed)


def _refunds(stage: Stage) -> int:
    ledger = stage.folder / "ledger.jsonl"
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0


def _rows(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("interactions", str(len(run["turns"])))]
    for call in run["calls"]:
        asked = call["approval"] and call["approval"]["status"]
        rows.append(
            (f"call {call['tool']}", f"{call['outcome']}" + (f", {asked} by a person" if asked else ""))
        )
    return [*rows, ("tokens", str(run["usage"].get("total_tokens", 0)))]
