"""Effects that are claimed and may be performed: what is left to be done, and the slots it is done in."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from sqlalchemy.orm import Session

from orchestrator.domain.effects import EffectKind
from orchestrator.domain.values import Value
from orchestrator.store.claims import Claimed

Act = Callable[[], Awaitable[None]]
"""What remains to be done of an effect outside its transaction, and the commit of what came of it."""

Gate = Callable[[Session, Claimed], Act | None]
"""What is decided about an effect as it is claimed; None where nothing remains to be done."""


class Ticket(Value):
    """An effect that is claimed and has passed its gate."""

    effect: Claimed
    act: Act


class Taken(Value):
    """An effect that was claimed, unless its gate left nothing to do, and what follows it at once."""

    own: Ticket | None
    following: Sequence[Ticket] = ()


class Slots(Protocol):
    """Places for work in this process; asked from any thread."""

    def reserve(self, kind: EffectKind) -> bool:
        """Take a place for an effect of that kind, if there is one."""
        ...

    def give_back(self, kind: EffectKind) -> None:
        """The place is not needed, or not any more."""
        ...


class NoSlots:
    """Where nobody works, everything is left to the rows."""

    def reserve(self, kind: EffectKind) -> bool:
        """There is none."""
        return False

    def give_back(self, kind: EffectKind) -> None:
        """None was taken."""


class GateError(Exception):
    """A gate failed in a way nobody foresaw."""


class Places:
    """The places one transaction has reserved, so that none stays taken when it comes to nothing."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._taken: list[EffectKind] = []

    def reserve(self, kind: EffectKind) -> bool:
        if not self._slots.reserve(kind):
            return False
        self._taken.append(kind)
        return True

    def give_back(self, kind: EffectKind) -> None:
        self._taken.remove(kind)
        self._slots.give_back(kind)

    def clear(self) -> None:
        while self._taken:
            self._slots.give_back(self._taken.pop())
