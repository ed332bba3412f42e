"""Messages to callers: what was sent, what waits, sending again, and enabling an address that was disabled.

Of an address its host is shown and our id: the rest of it may hold a token of its owner.
No `from __future__ import annotations`: Litestar reads the annotations.
"""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import structlog
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import Struct

from orchestrator.domain.announcements import trial
from orchestrator.domain.callbacks import AddressState, CallbackState
from orchestrator.errors import InvalidError, RejectedError, UnavailableError, UncertainError
from orchestrator.store import callback_care
from orchestrator.web.callback_wishes import Address
from orchestrator.web.doors import Doors, Token
from orchestrator.web.paging import Cursor, Limit, from_cursor, own_id, to_cursor
from orchestrator.web.problems import problems
from orchestrator.web.runs import OPERATE, READ, known_workflow
from orchestrator.web.schemas import CancelOrder, Links, run_path

log = structlog.get_logger(__name__)

Row = Mapping[str, Any]
_MAY_GO: Final = {**OPERATE, "body": "optional"}


class CallbackSummary(Struct, kw_only=True):
    """One message; `id` is its `webhook-id`, `address` our id of the whole address at `host`."""

    id: str
    run: str
    event: str
    state: CallbackState
    address: str
    host: str
    created_at: datetime
    attempts: int
    last_at: datetime | None
    last_status: int | None
    error: str
    links: Links


class CallbackOut(CallbackSummary, kw_only=True):
    """`body` is what is sent. `log` holds the newest attempts: `at`, `status`, `error`, `replayed_by`."""

    body: dict[str, Any]
    log: list[dict[str, Any]]


class CallbackPage(Struct, kw_only=True):
    items: list[CallbackSummary]
    next: str | None


class AddressOut(Struct, kw_only=True):
    """`held` counts the messages that wait for it to be enabled."""

    id: str
    host: str
    state: AddressState
    failing_since: datetime | None
    disabled_at: datetime | None
    why: str
    held: int
    links: Links


class AddressList(Struct, kw_only=True):
    items: list[AddressOut]


class Enabled(AddressOut, kw_only=True):
    """`sent` counts messages that were held and are sent now, `given_up` those that were too old."""

    sent: int
    given_up: int


class Trial(Struct, kw_only=True, forbid_unknown_fields=True):
    """An address to try: `url`, or all addresses of a `workflow`."""

    url: Address | None = None
    workflow: str | None = None


class Tried(Struct, kw_only=True):
    host: str
    delivered: bool
    status: int | None
    detail: str


class TrialOut(Struct, kw_only=True):
    items: list[Tried]


@get("/callbacks", opt=READ, summary="List messages to callers", responses=problems(400))
async def list_callbacks(
    doors: NamedDependency[Doors],
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
        callback_care.callbacks, limit=limit, after=from_cursor(cursor), state=standing, run_id=run
    )
    items = [CallbackSummary(**_summary(r)) for r in page.rows]
    return CallbackPage(items=items, next=to_cursor(page.next))


@get("/callbacks/{callback_id:str}", opt=READ, summary="One message to a caller", responses=problems(404))
async def show_callback(callback_id: FromPath[str], doors: NamedDependency[Doors]) -> CallbackOut:
    row = await doors.database.read(callback_care.callback, own_id(callback_id, "callback"))
    return _out(row)


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
    return _out(row)


@get("/callback-addresses", opt=READ, summary="How callers' addresses stand", responses=problems(400))
async def list_addresses(
    doors: NamedDependency[Doors],
    standing: Annotated[AddressState | None, QueryParameter(name="state")] = None,
) -> AddressList:
    """The disabled ones first; 1,000 at most."""
    rows = await doors.database.read(callback_care.addresses, standing)
    return AddressList(items=[AddressOut(**_address(r)) for r in rows])


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
    return Enabled(**_address(row), sent=sent, given_up=dropped)


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
    host = _host(url)
    try:
        receipt = await sender.send(url, f"msg_test{secrets.token_hex(12)}", trial(doors.clock()))
    except (UnavailableError, UncertainError, RejectedError) as e:
        return Tried(host=host, delivered=False, status=None, detail=str(e))
    told = "" if receipt.taken else f"it answered {receipt.status}"
    return Tried(host=host, delivered=receipt.taken, status=receipt.status, detail=told)


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _summary(row: Row) -> dict[str, Any]:
    same = ("id", "event", "state", "address", "created_at", "attempts", "last_at", "last_status", "error")
    links = {"replay": f"/v1/callbacks/{row['id']}/replay", "run": run_path(row["run_id"])}
    return {**{k: row[k] for k in same}, "run": row["run_id"], "host": _host(row["url"]), "links": links}


def _out(row: Row) -> CallbackOut:
    return CallbackOut(**_summary(row), body=json.loads(row["body"]), log=row["log"])


def _address(row: Row) -> dict[str, Any]:
    same = ("id", "state", "failing_since", "disabled_at", "why", "held")
    links = {"enable": f"/v1/callback-addresses/{row['id']}/enable"}
    return {**{k: row[k] for k in same}, "host": _host(row["url"]), "links": links}
