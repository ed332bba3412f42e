"""The gateway to a Slack that answers as it is told to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.slack_cards import ID, NOW, states
from support.slack_server import DROPPED, PATIENCE_SECONDS, SILENT, FakeSlack, Reply, no, ok

from orchestrator.domain.values import replace
from orchestrator.emulator.serving import free_port
from orchestrator.slack.gateway import SlackGateway

CHANNEL = "C0APPR"
TS = "1795290000.000100"
PLACED = replace(
    states()["approved"], approval=replace(states()["approved"].approval, channel=CHANNEL, ts=TS)
)
HTML = Reply(b"<html>Bad gateway</html>", status=503, kind="text/html")
UNCERTAIN = {
    "timeout": SILENT,
    "dropped": DROPPED,
    "500": Reply({"ok": False}, status=500),
    "502 as text": Reply(b"upstream", status=502, kind="text/plain"),
    "503 as html": HTML,
    "fatal_error": no("fatal_error"),
    "internal_error": no("internal_error"),
    "request_timeout": no("request_timeout"),
    "service_unavailable": no("service_unavailable"),
    "cut JSON": Reply(b'{"ok": tr'),
    "no JSON object": Reply(["ok"]),
    "text": Reply(b"ok", kind="text/plain"),
    "zipped": Reply(b"\x1f\x8b", kind="application/gzip"),
    "empty": Reply(b"", kind="text/html"),
    "bad bytes": Reply(b'{"ok": "\xff"}'),
    "not ok, no word why": Reply({"ok": False}),
    "error of a wrong type": Reply({"ok": False, "error": {"x": 1}}),
    "taken, no ts": ok(channel="C0APPR"),
    "taken, odd ts": ok(channel="C0APPR", ts=17.1),
}


@asynccontextmanager
async def gateway(slack: FakeSlack | None, **options: Any) -> AsyncIterator[SlackGateway]:
    base_url = slack.base_url if slack else f"http://127.0.0.1:{free_port()}/api/"
    settings: dict[str, Any] = {
        "clock": lambda: NOW,
        "base_url": base_url,
        "timeout_seconds": PATIENCE_SECONDS,
        "blip_seconds": 0.001,
        "response_hosts": ("hooks.slack.com", "127.0.0.1"),
    }
    made = SlackGateway("xoxb-test", **(settings | options))
    try:
        yield made
    finally:
        await made.aclose()


def message(ts: str = TS, *, rev: int = 1, request: str = ID, **changes: Any) -> dict[str, Any]:
    payload = {"request_id": request, "delivery_id": f"dlv_{request[4:]}_{rev}", "rev": rev}
    return {
        "type": "message",
        "user": "U0BOT",
        "bot_id": "B0BOT",
        "ts": ts,
        "metadata": {"event_type": "approval_request", "event_payload": payload},
        **changes,
    }
