"""What every story is told with: people, links, and stored JSON as it can be sent.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from orchestrator.domain.consent import Actor
from orchestrator.domain.hidden import covered

Row = Mapping[str, Any]
Links = dict[str, str]
Hidden = Mapping[str, Collection[str]]
"""Names of the parameters nobody is shown, by tool."""
DEEPEST: Final = 100
TOO_DEEP: Final = "(nested too deeply to be shown)"


class ActorOut(Struct, kw_only=True):
    """Who did something, and by which door: `slack`, `api`, `shell`, `system`."""

    id: str
    name: str
    door: str


def person(actor: Actor) -> ActorOut:
    return ActorOut(id=actor.id, name=actor.name, door=actor.door)


def actor_out(stored: Row) -> ActorOut:
    return person(msgspec.convert(stored, Actor))


def run_path(run_id: str) -> str:
    return f"/v1/runs/{run_id}"


def seen(row: Row, frozen: Collection[str], hidden: Hidden) -> Any:
    """A call's arguments; what is hidden now, or was when people were asked, is covered."""
    return whole_text(covered(row["arguments"], {*frozen, *hidden.get(row["tool"], ())}))


def whole_text(value: Any, depth: int = 0) -> Any:
    """Stored JSON as it can be sent.

    A model may write half surrogate pairs, which no UTF-8 can hold, and nest without end.
    """
    if depth > DEEPEST:
        return TOO_DEEP
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {whole_text(k): whole_text(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [whole_text(v, depth + 1) for v in value]
    return value
