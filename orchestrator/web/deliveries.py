"""The ledger of webhooks: what came, what became of it, and working on one again.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

import re
from typing import Annotated, Any, Final

import structlog
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from orchestrator.errors import NotFoundError
from orchestrator.store import ledger
from orchestrator.store.inbox import DeliveryVerdict
from orchestrator.store.tables import DeliveryState
from orchestrator.web.doors import Doors, Token
from orchestrator.web.handles import from_handle
from orchestrator.web.paging import Limit, Pages
from orchestrator.web.problems import problems
from orchestrator.web.runs import OPERATE, READ
from orchestrator.web.schemas.deliveries import (
    DeliveryOut,
    DeliveryPage,
    DeliverySummary,
    delivery_out,
    delivery_summary,
)
from orchestrator.web.schemas.orders import CancelOrder

log = structlog.get_logger(__name__)

_IDS: Final = re.compile(r"[!-~]{1,256}", re.ASCII)
_Cursor = Annotated[str | None, QueryParameter(max_length=400, description="`next` of the page before.")]


def _word(most: int, description: str) -> Any:
    return QueryParameter(min_length=1, max_length=most, pattern="^[!-~]+$", description=description)


@get("/deliveries", opt=READ, summary="List webhooks", responses=problems(400))
async def list_deliveries(
    doors: NamedDependency[Doors],
    pages: NamedDependency[Pages],
    standing: Annotated[
        DeliveryState | None,
        QueryParameter(name="state", description="`new` ones wait, `parked` ones nobody knows."),
    ] = None,
    verdict: Annotated[
        DeliveryVerdict | None,
        QueryParameter(description="What became of them; `refused` ones are listed by this only."),
    ] = None,
    kind: Annotated[str | None, _word(200, "The event, as `interaction.completed`.")] = None,
    subject: Annotated[str | None, _word(512, "The interaction, or whatever else they are about.")] = None,
    run: Annotated[
        str | None,
        QueryParameter(max_length=64, pattern="^[A-Za-z0-9_-]+$", description="About its interactions."),
    ] = None,
    limit: Limit = 20,
    cursor: _Cursor = None,
) -> DeliveryPage:
    """The last received first."""
    page = await doors.database.read(
        ledger.deliveries,
        limit=limit,
        after=pages.begin(cursor, _IDS),
        state=standing,
        verdict=verdict,
        kind=kind,
        subject=subject,
        run_id=run,
    )
    return DeliveryPage(items=[delivery_summary(r) for r in page.rows], next=pages.next(page.next))


@get(
    "/deliveries/{delivery_id:str}", opt=READ, summary="One webhook as it came", responses=problems(400, 404)
)
async def show_delivery(delivery_id: FromPath[str], doors: NamedDependency[Doors]) -> DeliveryOut:
    """With its headers and body, what became of it, and what followed in the record of its run."""
    return delivery_out(*await doors.database.read(ledger.told, _id(delivery_id)))


@post(
    "/deliveries/{delivery_id:str}/replay",
    status_code=200,
    opt={**OPERATE, "body": "optional"},
    summary="Work on a webhook again",
    responses=problems(400, 404, 409, 413, 415),
)
async def replay_delivery(
    delivery_id: FromPath[str],
    doors: NamedDependency[Doors],
    caller: NamedDependency[Token],
    data: JSONBody[CancelOrder | None] = None,
) -> DeliverySummary:
    """As if it had just come: its interaction is read again where that may tell something new, no more.
    One that was refused stays so.

    Asking twice is asking once, until it has been worked on.
    """
    reason = data.reason if data else ""
    row = await doors.database.write(ledger.replay, _id(delivery_id), caller.actor, reason, doors.clock())
    log.info("delivery_replayed", webhook_id=row["id"], run_id=row["run_id"], by=caller.actor.id)
    doors.mail()
    return delivery_summary(row)


def _id(part: str) -> str:
    """Raises `NotFoundError` for what can be no id of a delivery."""
    webhook_id = from_handle(part)
    if webhook_id is None:
        raise NotFoundError("there is no delivery of that id")
    return webhook_id
