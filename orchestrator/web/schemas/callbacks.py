"""Messages to callers, and the addresses they go to.

Of an address its host is shown and our id: the rest of it may hold a token of its owner.
No `from __future__ import annotations`: Litestar reads the annotations.
"""

import json
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from orchestrator.domain.callbacks import AddressState, CallbackState
from orchestrator.web.callback_wishes import Address
from orchestrator.web.schemas.ground import Links, Row, run_path


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


def callback_summary(row: Row) -> CallbackSummary:
    return CallbackSummary(**_summary(row))


def callback_out(row: Row) -> CallbackOut:
    return CallbackOut(**_summary(row), body=json.loads(row["body"]), log=row["log"])


def address_out(row: Row) -> AddressOut:
    return AddressOut(**_address(row))


def enabled(row: Row, sent: int, given_up: int) -> Enabled:
    return Enabled(**_address(row), sent=sent, given_up=given_up)


def host_of(url: str) -> str:
    return urlsplit(url).netloc


def _summary(row: Row) -> dict[str, Any]:
    same = ("id", "event", "state", "address", "created_at", "attempts", "last_at", "last_status", "error")
    links = {"replay": f"/v1/callbacks/{row['id']}/replay", "run": run_path(row["run_id"])}
    return {**{k: row[k] for k in same}, "run": row["run_id"], "host": host_of(row["url"]), "links": links}


def _address(row: Row) -> dict[str, Any]:
    same = ("id", "state", "failing_since", "disabled_at", "why", "held")
    links = {"enable": f"/v1/callback-addresses/{row['id']}/enable"}
    return {**{k: row[k] for k in same}, "host": host_of(row["url"]), "links": links}
