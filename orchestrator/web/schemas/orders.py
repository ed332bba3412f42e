"""What callers ask of a run: to start, stop, be settled or taken up again.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from orchestrator.domain.events import Choice
from orchestrator.web.callback_wishes import Address, NewCallback

Reason = Annotated[str, Meta(max_length=1000)]


class NewRun(Struct, kw_only=True, forbid_unknown_fields=True):
    """A run to start. `input` is text, or the fields the workflow declares."""

    input: str | dict[str, Any]
    idempotency_key: Annotated[
        str, Meta(min_length=1, max_length=200, pattern="^[!-~]+$", description="Visible ASCII.")
    ] = ""
    callback: Annotated[
        Address | NewCallback | None,
        Meta(description="An address that is told of the run, beside its workflow's; alone, or with events."),
    ] = None


class CancelOrder(Struct, kw_only=True, forbid_unknown_fields=True):
    """A run that is to stop, an effect to be tried again or given up, a delivery to be replayed; and why."""

    reason: Reason = ""


class Restart(Struct, kw_only=True, forbid_unknown_fields=True):
    """Nothing needs to be said."""


class Resolution(Struct, kw_only=True, forbid_unknown_fields=True):
    """What became of a call in doubt, or how to go on after a create that got lost or was refused."""

    choice: Choice
    call: Annotated[
        str,
        Meta(max_length=64, description="Our id of the call; may be left out where only one is in doubt."),
    ] = ""
    result: Annotated[
        str | dict[str, Any], Meta(description="With `happened`: what the model is told the call returned.")
    ] = ""
