"""A card that stands in the local Slack, and the gateway that put it there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.slack_cards import NOW

from orchestrator.domain.cards import Card
from orchestrator.domain.values import replace
from orchestrator.emulator.serving import running
from orchestrator.emulator.slack.app import build
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.slack.gateway import SlackGateway


@asynccontextmanager
async def standing(card: Card) -> AsyncIterator[tuple[LocalSlack, SlackGateway, Card]]:
    """A local Slack, the gateway to it, and the card once it was posted there."""
    app = build(clock=NOW.timestamp)
    async with running(app) as address:
        gateway = SlackGateway("xoxb-local", clock=lambda: NOW, base_url=f"{address}/api/")
        try:
            channel, ts = await gateway.post(card, seen_before=False)
            placed = replace(card.approval, channel=channel, ts=ts)
            yield app.state.slack, gateway, replace(card, approval=placed)
        finally:
            await gateway.aclose()


def thread(slack: LocalSlack, shown: Card) -> list[dict[str, Any]]:
    """The replies under the message."""
    found = [m for m in slack.messages("C0APPR") if m.get("thread_ts") == shown.approval.ts]
    return [m for m in found if m["ts"] != shown.approval.ts]
