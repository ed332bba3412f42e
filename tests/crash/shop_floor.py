"""What the laboratory's service is given to do: its tool module, and what the model asks for."""

from collections.abc import Mapping
from typing import Any

TOOLS = '''\
"""A shop whose books are files: every effect is a line, in one of its own for who gives a key, on disk
before the tool answers.
"""

import json
import os
import time
from contextlib import suppress
from uuid import uuid4

from orchestrator import ToolContext, tool

LEDGER = os.environ["LAB_LEDGER"]
PAUSE_SECONDS = float(os.environ["LAB_PAUSE"])


def enter(ctx: ToolContext, name: str, book: str = LEDGER) -> None:
    line = json.dumps({"key": ctx.call_id, "tool": name, "run": ctx.run_id, "at": time.time()}) + "\\n"
    file = os.open(book, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, line.encode())
    os.fsync(file)
    os.close(file)


def enter_once(ctx: ToolContext, name: str) -> None:
    """What a shop does with a key: the second request finds the first, wherever that one stood still."""
    draft = f"{LEDGER}.draft-{uuid4().hex}"
    enter(ctx, name, draft)
    with suppress(FileExistsError):
        os.link(draft, f"{LEDGER}.{ctx.call_id}")


def act(ctx: ToolContext, name: str, *, keyed: bool) -> dict[str, str]:
    time.sleep(PAUSE_SECONDS / 2)
    (enter_once if keyed else enter)(ctx, name)
    time.sleep(PAUSE_SECONDS / 2)
    return {"receipt": ctx.call_id}


@tool(approval="allow", idempotent=True)
def lookup_order(order_id: str, ctx: ToolContext) -> dict[str, str]:
    """Look an order up."""
    return act(ctx, "lookup_order", keyed=True)


def preview_refund(order_id: str, amount_cents: int) -> str:
    return f"{order_id}: {amount_cents} less"


@tool(approval="ask", timeout_seconds=300, preview=preview_refund)
def refund_order(order_id: str, amount_cents: int, ctx: ToolContext) -> dict[str, str]:
    """Give money back: a shop without idempotency keys."""
    return act(ctx, "refund_order", keyed=False)


@tool(approval="ask", idempotent=True, timeout_seconds=300)
def send_note(order_id: str, text: str, ctx: ToolContext) -> dict[str, str]:
    """Write to the customer, once per key."""
    return act(ctx, "send_note", keyed=True)


@tool(approval="allow", idempotent=True, timeout_seconds=300)
def watch_parcel(order_id: str, ctx: ToolContext) -> dict[str, str]:
    """Follow a parcel until it is there, or nobody wants to know any more."""
    enter(ctx, "begun")
    for _ in range(12_000):
        if ctx.is_cancelled():
            enter(ctx, "stopped")
            break
        time.sleep(0.01)
    return {"receipt": ctx.call_id}
'''

_LOOKUP = {"name": "lookup_order", "arguments": {"order_id": "A-17"}}
_REFUND = {"name": "refund_order", "arguments": {"order_id": "A-17", "amount_cents": 1250}}
_NOTE = {"name": "send_note", "arguments": {"order_id": "A-17", "text": "It is on its way."}}
_WATCH = {"name": "watch_parcel", "arguments": {"order_id": "A-17"}}


def _story(word: str, *turns: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": word, "match": {"input_contains": word}, "turns": [*turns, {"text": "That is done."}]}


SCENARIOS = {
    "scenarios": [
        _story("refund", {"calls": [_LOOKUP]}, {"calls": [_REFUND]}),
        _story("note", {"calls": [_LOOKUP]}, {"calls": [_NOTE]}),
        _story("all at once", {"calls": [_LOOKUP, _REFUND, _NOTE]}),
        _story("look", {"calls": [_LOOKUP, _LOOKUP, _LOOKUP]}),
        _story("watch", {"calls": [_WATCH]}),
        _story("ponder", {"think": 600.0}),
    ]
}
