"""A small shop: looking an order up is free, giving money back needs a person.

The orders live in this file. Set `ORDERS_LEDGER` to a path, and every refund is also appended
there as one line of JSON, with the call's id as its key: a count of what really happened that
does not depend on the service.
"""

import json
import os
import threading
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import Field

from orchestrator import ToolContext, ToolError, tool


@dataclass(frozen=True)
class Order:
    """An order as the shop knows it; `total` in `currency`."""

    order_id: str
    status: str
    late: bool
    total: Decimal
    currency: str = "EUR"


ORDERS = {
    order.order_id: order
    for order in (
        Order("A-17", "in transit", late=True, total=Decimal("12.50")),
        Order("A-1042", "delivered", late=False, total=Decimal("89.90")),
        Order("A-2001", "preparing", late=False, total=Decimal("240.00"), currency="USD"),
    )
}
_writing = threading.Lock()


@tool(approval="allow", idempotent=True, retry="transient")
def lookup_order(order_id: str) -> Order:
    """Look up an order: its status, whether it is late, and what it cost.

    Args:
        order_id: The shop's order number, for example "A-17".
    """
    if order_id not in ORDERS:
        raise ToolError(f"There is no order {order_id}.")
    return ORDERS[order_id]


def preview_refund(order_id: str, amount: Decimal) -> dict[str, str]:
    """What the approver is shown: the order as it is, and what is left of it. It only looks."""
    order = _refundable(order_id, amount)
    return {
        "order": f"{order_id}, {order.status}{', late' if order.late else ''}",
        "paid": f"{order.total} {order.currency}",
        "given back": f"{amount} {order.currency}",
        "kept": f"{order.total - amount} {order.currency}",
    }


@tool(approval="ask", timeout_seconds=10, preview=preview_refund)
def refund_order(
    order_id: str, amount: Annotated[Decimal, Field(gt=0)], ctx: ToolContext, reason: str = ""
) -> dict[str, str]:
    """Refund an order, or part of it, to the card it was paid with.

    Args:
        order_id: The shop's order number, for example "A-17".
        amount: How much to give back, in the order's currency.
        reason: Why, in a few words; it appears in the shop's books.
    """
    order = _refundable(order_id, amount)
    refund = Refund(f"R-{ctx.call_id[-8:]}", order_id, str(amount), order.currency, reason)
    _enter(refund, ctx.call_id)
    ctx.log.info("refunded", order_id=order_id)
    return asdict(refund)


def _refundable(order_id: str, amount: Decimal) -> Order:
    order = lookup_order(order_id)
    if amount > order.total:
        raise ToolError(f"{amount} is more than the order's total of {order.total} {order.currency}.")
    return order


@dataclass(frozen=True)
class Refund:
    """Money on its way back; `amount` is decimal text."""

    refund_id: str
    order_id: str
    amount: str
    currency: str
    reason: str


def _enter(refund: Refund, call_id: str) -> None:
    """Append to the ledger, if there is one: a single write, on disk before the tool answers."""
    ledger = os.environ.get("ORDERS_LEDGER")
    if not ledger:
        return
    line = json.dumps({"key": call_id, **asdict(refund)}) + "\n"
    with _writing, Path(ledger).open("a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
