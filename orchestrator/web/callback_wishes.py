"""An address a caller gives along with a run: whether it may be called, and what the run keeps of it.

No `from __future__ import annotations`: Litestar reads the annotations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Protocol

from msgspec import Meta, Struct

from orchestrator.domain.callbacks import ALL_NEWS, Callback, News
from orchestrator.domain.model import Recipe
from orchestrator.domain.values import replace
from orchestrator.engine.callbacks import NOTHING_SIGNS, CallbackPort
from orchestrator.errors import InvalidError, RejectedError

Address = Annotated[str, Meta(min_length=1, max_length=2048, description="https; never shown again.")]


class NewCallback(Struct, kw_only=True, forbid_unknown_fields=True):
    """Who is told of a run, by signed webhooks, and of what; by default of everything."""

    url: Address
    events: Annotated[Sequence[News], Meta(min_length=1, max_length=len(ALL_NEWS))] = ALL_NEWS


class CheckingPort(CallbackPort, Protocol):
    """Who sends to addresses and knows which ones."""

    def check(self, url: str) -> None:
        """Raises `RejectedError` with what an address should be."""
        ...


@dataclass(frozen=True, slots=True)
class CallbackDoor:
    """Addresses of callers.

    Args:
        sender: None where nothing signs, so nobody is told.
        fresh: How old a message may be that was held for a disabled address.
    """

    sender: CheckingPort | None = None
    fresh: timedelta = timedelta(hours=24)

    def checked(self, url: str, field: str) -> CheckingPort:
        """Who sends there. Raises `InvalidError`, naming the field."""
        if self.sender is None:
            raise InvalidError(
                "this service tells nobody of runs", [(field, f"cannot be used: {NOTHING_SIGNS}")]
            )
        try:
            self.sender.check(url)
        except RejectedError as e:
            raise InvalidError("this address is not called", [(field, str(e))]) from None
        return self.sender


_FIELD: Final = "callback"


def with_own(recipe: Recipe, wanted: str | NewCallback | None, door: CallbackDoor) -> Recipe:
    """The recipe of a run that is to tell that address, too. Raises `InvalidError`, naming the field."""
    if wanted is None:
        return recipe
    short = isinstance(wanted, str)
    wish = NewCallback(url=wanted) if isinstance(wanted, str) else wanted
    door.checked(wish.url, _FIELD if short else f"{_FIELD}.url")
    own = Callback(wish.url, tuple(dict.fromkeys(wish.events)), own=True)
    others = (c for c in recipe.callbacks if c.url != own.url)
    return replace(recipe, callbacks=(*others, own))
