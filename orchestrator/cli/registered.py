"""Registered webhooks as people and programs read them."""

from collections.abc import Sequence
from typing import Any

from orchestrator.cli.consoles import plain, show_table
from orchestrator.domain.registration import EVENTS, Registration, same_address


def plainly(found: Registration) -> dict[str, Any]:
    """A registration as JSON."""
    return {
        "id": found.id,
        "name": found.name,
        "uri": found.uri,
        "state": found.state,
        "events": list(found.events),
        "secrets": [
            {"ends_with": s.tail, "until": s.ends.isoformat() if s.ends else None} for s in found.secrets
        ],
    }


def lines(found: Registration) -> list[tuple[str, str]]:
    """A registration as names and texts."""
    return [(key, plain(_words(value))) for key, value in plainly(found).items()]


def table(found: Sequence[Registration], own: str | None) -> None:
    """Print them; `own` is our address, if it is known."""
    columns = ("id", "name", "address", "state", "events", "secrets")
    show_table(columns, [_cells(registered, own) for registered in found], whole=1, more=False)


def _cells(registered: Registration, own: str | None) -> tuple[str, ...]:
    told = plainly(registered)
    events = "all" if set(registered.events) == set(EVENTS) else _words(told["events"])
    mark = " (ours)" if own and same_address(registered.uri, own) else ""
    address = registered.uri + mark
    return registered.id, registered.name, address, registered.state, events, _words(told["secrets"])


def _words(value: Any) -> str:
    if not isinstance(value, list):
        return str(value) or "–"
    return ", ".join(_hint(v) if isinstance(v, dict) else str(v) for v in value) or "–"


def _hint(secret: dict[str, Any]) -> str:
    return f"…{secret['ends_with']}" + (f" until {secret['until']}" if secret["until"] else "")
