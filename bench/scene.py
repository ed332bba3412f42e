"""One picture's worth of Slack: what stands there, who looks, what they press."""

from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.domain.cards import Card, Overview
from orchestrator.domain.inquiries import Telling
from orchestrator.domain.values import replace
from orchestrator.slack import modals
from tests.support.slack_cards import card, on

SIZE: Final = (1000, 960)
ALICE: Final = "U0ALICE"


@dataclass(frozen=True)
class Scene:
    """What is to be seen: the message as it was asked and as it is now, and what somebody then presses.

    `press` are the buttons, one after the other, each in the window the last one opened; `submit` sends the
    last window off with these entries. `views` is what each button opens, `errors` what is wrong then.
    `told` is what is said of questions that were asked back, `pictures` what stands in the thread by its
    title; `viewer` is who looks at it all.
    """

    shown: Card | Overview
    press: tuple[str, ...] = ()
    views: dict[str, modals.View] = field(default_factory=dict)
    submit: dict[str, Any] | None = None
    errors: dict[str, str] = field(default_factory=dict)
    remind: str = ""
    reminded_with: tuple[Card, ...] = ()
    home: modals.View | None = None
    confirm: str = ""
    direct: bool = False
    told: tuple[Telling, ...] = ()
    pictures: tuple[tuple[str, bytes], ...] = ()
    viewer: str = ALICE
    size: tuple[int, int] = SIZE


Scenes = dict[str, Scene]
"""By the name of the picture."""


def numbered(number: int, base: Card | None = None, **changes: Any) -> Card:
    """A call of its own id, run and digest."""
    base = base or card()
    named = {"id": f"apr_{number:024x}", "digest": f"{number:02x}" * 32}
    made = on(base, lambda approval: replace(approval, **named))
    return replace(made, call=replace(made.call, id=f"call_{number}"), **changes)
