"""The tools of the acceptance stories. Copied into each test's own folder, next to which it keeps its books.

`ledger.jsonl` counts what really happened, `starts.jsonl` what was begun, `go` lets waiting tools go on.
Books are kept outside the service, so that they are the judge of "exactly once".
"""

import asyncio
import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from orchestrator import ToolContext, ToolError, tool

HOME = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 30.0


@contextmanager
def _writing() -> Iterator[None]:
    """One at a time, over restarts of the service too: a tool cut off by one may still run."""
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(book: str, tool_name: str, ctx: ToolContext, more: dict[str, object]) -> None:
    line = json.dumps({"tool": tool_name, "key": ctx.call_id, **more}) + "\n"
    with (HOME / book).open("a", encoding="utf-8") as file:
        file.write(line)


def _note(book: str, tool_name: str, ctx: ToolContext, **more: object) -> None:
    with _writing():
        _write(book, tool_name, ctx, more)


def _once(tool_name: str, ctx: ToolContext, **more: object) -> None:
    """What an idempotent tool does: look its key up, and do it only if it is not there."""
    ledger = HOME / "ledger.jsonl"
    with _writing():
        rows = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
        if all(json.loads(row)["key"] != ctx.call_id for row in rows):
            _write("ledger.jsonl", tool_name, ctx, more)


def _go() -> bool:
    return (HOME / "go").exists()


@tool(approval="allow", idempotent=True)
def look_up(item: str) -> dict[str, str]:
    """Look an item up.

    Args:
        item: Its name.
    """
    return {"item": item, "price": "12.50"}


@tool(approval="allow", idempotent=True)
async def weigh(item: str, ctx: ToolContext) -> float:
    """Weigh an item, without a thread.

    Args:
        item: Its name.
    """
    await asyncio.sleep(0)
    return float(len(item))


@tool
def charge(item: str, amount: int, ctx: ToolContext) -> dict[str, str]:
    """Charge for an item. A second charge would hurt.

    Args:
        item: What is paid for.
        amount: How much, in cents.
    """
    approved_by = ctx.approved_by.id if ctx.approved_by else ""
    _note("ledger.jsonl", "charge", ctx, item=item, amount=amount, approved_by=approved_by)
    return {"charged": item}


@tool(idempotent=True)
def refund(item: str, amount: int, ctx: ToolContext) -> dict[str, str]:
    """Give money back; the same call twice gives it back once.

    Args:
        item: What was paid for.
        amount: How much, in cents.
    """
    _note("starts.jsonl", "refund", ctx)
    _once("refund", ctx, item=item, amount=amount)
    return {"refunded": item}


def preview_discount(item: str, percent: int) -> dict[str, object]:
    """What the price would be; how many of it are there is written down outside."""
    stock = HOME / "stock"
    there = int(stock.read_text(encoding="utf-8")) if stock.exists() else 1
    return {"item": item, "pieces": there, "price": Decimal("12.50") * (100 - percent) / 100}


@tool(preview=preview_discount)
def discount(item: str, percent: int, ctx: ToolContext) -> str:
    """Make every piece of an item cheaper.

    Args:
        item: Its name.
        percent: By how much.
    """
    _note("ledger.jsonl", "discount", ctx, item=item, percent=percent)
    return f"{item} is cheaper"


@tool(approval="deny")
def demolish(item: str, ctx: ToolContext) -> str:
    """Nobody may do this.

    Args:
        item: What would be gone.
    """
    _note("ledger.jsonl", "demolish", ctx)
    return item


@tool(approval="allow")
def crash(item: str) -> str:
    """Fail with something inside that is nobody's business.

    Args:
        item: Anything.
    """
    raise RuntimeError(f"password=hunter2 while handling {item}")


@tool(approval="allow")
def refuse(item: str) -> str:
    """Say an honest no.

    Args:
        item: Anything.
    """
    raise ToolError(f"We are out of {item}.")


def _held(name: str, ctx: ToolContext, *, heed: bool) -> str:
    _note("starts.jsonl", name, ctx)
    end = time.monotonic() + PATIENCE_SECONDS
    while not _go() and time.monotonic() < end:
        if heed and ctx.is_cancelled():
            _note("starts.jsonl", f"{name} was told to stop", ctx)
            raise ToolError("I was told to stop.")
        time.sleep(0.01)
    return "held"


@tool(approval="allow")
def ship(item: str, ctx: ToolContext) -> str:
    """Takes until it may go on, then ships. Not to be done twice.

    Args:
        item: What is shipped.
    """
    _held("ship", ctx, heed=False)
    _note("ledger.jsonl", "ship", ctx, item=item)
    return f"{item} is on its way"


@tool(approval="allow", idempotent=True)
def pack(item: str, ctx: ToolContext) -> str:
    """Takes until it may go on, then packs; the same call twice packs once.

    Args:
        item: What is packed.
    """
    _held("pack", ctx, heed=False)
    _once("pack", ctx, item=item)
    return f"{item} is packed"


@tool(approval="allow", timeout_seconds=0.3)
def courier(item: str, ctx: ToolContext) -> str:
    """Takes longer than it has; whether it arrived nobody knows. Not to be done twice.

    Args:
        item: What is brought.
    """
    if _go():
        _note("ledger.jsonl", "courier", ctx, item=item)
        return f"{item} was brought"
    return _held("courier", ctx, heed=False)


@tool(approval="allow", timeout_seconds=0.3, idempotent=True)
def ask_stock(item: str, ctx: ToolContext) -> str:
    """Takes longer than it has; asking again does no harm.

    Args:
        item: What is asked about.
    """
    return _held("ask_stock", ctx, heed=False)


@tool(approval="allow")
async def watch(item: str, ctx: ToolContext) -> str:
    """Waits, and stops when it is told to.

    Args:
        item: What is watched.
    """
    _note("starts.jsonl", "watch", ctx)
    await ctx.cancelled.wait()
    _note("starts.jsonl", "watch was told to stop", ctx)
    raise ToolError("I was told to stop.")
