"""Messages to callers: what was sent, what waits, sending again, and enabling an address that was disabled.

Of an address its host is shown and our id: the rest of it may hold a token of its owner.
No `from __future__ import annotations`: Litestar reads the annotations.
"""

import secrets
from typing import Annotated, Final

import structlog
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from orchestrator.domain.announcements import trial
from orchestrator.domain.callbacks import AddressState, CallbackState
from orchestrator.errors import InvalidError, RejectedError, UnavailableError, UncertainError
from orchestrator.store import callback_care
from orchestrator.web.doors import Doors, Token
from orchestrator.web.paging import Cursor, Limit, Pages, own_id
from orchestrator.web.problems import problems
from orchestrator.web.runs import OPERATE, READ, known_workflow
from orchestrator.web.schemas.callbacks import (
    AddressList,
    CallbackOut,
    CallbackPage,
    Enabled,
    Trial,
    TrialOut,
    Tried,
    address_out,
    callback_out,
    callback_summary,
    enabled,
    host_of,
)
from orchestrator.web.schemas.orders import CancelOrder

log = structlog.get_logger(__name__)

_MAY_GO: Final = {**OPERATE, "body": "optional"}


@get("/callbacks", opt=READ, summary="List messages to callers", responses=problems(400))
async def list_callbacks(
    doors: NamedDependency[Doors],
    pages: NamedDependency[Pages],
    standing: Annotated[
        CallbackState | None,
        QueryParameter(
            name="state", description="`failed` ones were given up, `held` ones wait for a person."
        ),
    ] = None,
    run: Annotated[str | None, QueryParameter(max_length=64, pattern="^[A-Za-z0-9_-]+$")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> CallbackPage:
    """The newest first."""
    page = await doors.database.read(
        callback_care.callbacks, limit=limit, after=pages.begin(cursor), state=standing, run_id=run
    )
    return CallbackPage(items=[callback_summary(r) for r in page.rows], next=pages.next(page.next))


@get(
    "/callbacks/{callback_id:str}",
    opt=READ,
    summary="One message to a caller",
    responses=problems(400, 404),
)
async def show_callback(callback_id: FromPath[str], doors: NamedDependency[Doors]) -> CallbackOut:
    return callback_out(await doors.database.read(callback_care.callback, own_id(callback_id, "callback")))


@post(
    "/callbacks/{callback_id:str}/replay",
    status_code=200,
    opt=_MAY_GO,
    summary="Send a message to a caller again",
    responses=problems(400, 404, 409, 413, 415),
)
async def replay_callback(
    callback_id: FromPath[str],
    doors: NamedDependency[Doors],
    caller: NamedDependency[Token],
    data: JSONBody[CancelOrder | None] = None,
) -> CallbackOut:
    """Under the same id, whatever became of it; one that waits is tried at once."""
    named = own_id(callback_id, "callback")
    row = await doors.database.write(callback_care.replay, named, caller.actor, doors.clock())
    log.info("callback_replayed", callback=row["id"], by=caller.actor.id, reason=data.reason if data else "")
    doors.wake()
    return callback_out(row)


@get("/callback-addresses", opt=READ, summary="How callers' addresses stand", responses=problems(400))
async def list_addresses(
    doors: NamedDependency[Doors],
    standing: Annotated[AddressState | None, QueryParameter(name="state")] = None,
) -> AddressList:
    """The disabled ones first; 1,000 at most."""
    rows = await doors.database.read(callback_care.addresses, standing)
    return AddressList(items=[address_out(r) for r in rows])


@post(
    "/callback-addresses/{address_id:str}/enable",
    status_code=200,
    opt=_MAY_GO,
    summary="Send to a disabled address again",
    responses=problems(400, 404, 409, 413, 415),
)
async def enable_address(
    address_id: FromPath[str],
    doors: NamedDependency[Doors],
    caller: NamedDependency[Token],
    data: JSONBody[CancelOrder | None] = None,
) -> Enabled:
    """What was held for it, and is not too old, is sent now. Doing this twice is doing it once."""
    named = own_id(address_id, "address")
    row, sent, dropped = await doors.database.write(
        callback_care.enable, named, doors.callbacks.fresh, doors.clock()
    )
    log.info("callback_address_enabled", address=named, by=caller.actor.id, sent=sent, given_up=dropped)
    doors.wake()
    return enabled(row, sent, given_up=dropped)


@post(
    "/callback-addresses/test",
    status_code=200,
    opt=OPERATE,
    summary="Send a message about nothing",
    responses=problems(400, 404, 413, 415),
)
async def test_address(data: JSONBody[Trial], doors: NamedDependency[Doors]) -> TrialOut:
    """At once and once, to see whether it arrives; nothing of it is kept."""
    if (data.url is None) == (data.workflow is None):
        raise InvalidError("one address is tried", [("url", "is needed, or workflow instead")])
    if data.workflow is not None:
        urls = [c.url for c in known_workflow(doors, data.workflow).recipe.callbacks]
        if not urls:
            raise InvalidError("nothing to try", [("workflow", "has no callback")])
        return TrialOut(items=[await _tried(doors, url, "workflow") for url in urls])
    return TrialOut(items=[await _tried(doors, data.url or "", "url")])


async def _tried(doors: Doors, url: str, field: str) -> Tried:
    sender = doors.callbacks.checked(url, field)
    host = host_of(url)
    try:
        receipt = await sender.send(url, f"msg_test{secrets.token_hex(12)}", trial(doors.clock()))
    except (UnavailableError, UncertainError, RejectedError) as e:
        return Tried(host=host, delivered=False, status=None, detail=str(e))
    told = "" if receipt.taken else f"it answered {receipt.status}"
    return Tried(host=host, delivered=receipt.taken, status=receipt.status, detail=told)
