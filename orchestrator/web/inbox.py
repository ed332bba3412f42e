"""What waits for one person: on their Home tab, and as the answer to the slash command.

Both list what the domain says they may decide at this moment; deciding itself goes through a window, which
asks again. A Home tab is drawn when it is opened, and anew after a decision of its owner; nobody else's.
"""

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from orchestrator.domain.cards import Card
from orchestrator.domain.entitlement import concerns, in_some_stage, waits_for
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.terms import deciders
from orchestrator.slack import home
from orchestrator.slack.home import HomeEntry
from orchestrator.slack.incoming import Command, HomeOpened
from orchestrator.store import waiting
from orchestrator.web.clicks import ours
from orchestrator.web.doors import Doors, SlackDoor
from orchestrator.web.whispers import Whispers

LATELY: Final = timedelta(days=7)
"""How far back a person's own decisions are shown."""
MOST_REMEMBERED: Final = 1_000
"""People whose Home tab this process knows to be in use."""
NOT_FOUND: Final = "There is no open question of that id that names you."
_APPROVAL: Final = re.compile(r"apr_[A-Za-z0-9_-]{1,64}", re.ASCII)


class Inbox:
    """Answers the slash command, and keeps Home tabs."""

    def __init__(self, doors: Doors, slack: SlackDoor, whispers: Whispers) -> None:
        self._doors = doors
        self._slack = slack
        self._whispers = whispers
        self._seen: dict[str, None] = {}
        self._drawing: set[str] = set()
        self._again: set[str] = set()

    # --- the slash command ---------------------------------------------------------------------------

    async def command(self, typed: Command) -> JsonObject:
        """The answer, for who typed it alone. Raises `ForbiddenError`."""
        ours(self._slack, typed.team_id, typed.app_id or self._slack.app_id)
        match typed.text.split():
            case [] | ["mine"]:
                found = await self._waiting(typed.user_id)
                return self._listed(f"{_questions(len(found))} for you.", found)
            case ["all"]:
                every = await self._concerning(typed.user_id)
                return self._listed(f"{_questions(len(every), 'open')} that you have a part in.", every)
            case [wanted] if _APPROVAL.fullmatch(wanted):
                one = await self._concerning(typed.user_id, only=wanted)
                return self._listed("This is open:", one) if one else home.told(NOT_FOUND)
        return home.told(home.HELP)

    async def window(self, user: str) -> home.View:
        """What waits for this person, as a window."""
        return home.window(await self._waiting(user), now=self._doors.clock())

    def _listed(self, title: str, found: Sequence[HomeEntry]) -> JsonObject:
        return home.listed(title, found, now=self._doors.clock())

    # --- the Home tab --------------------------------------------------------------------------------

    def opened(self, event: HomeOpened) -> Callable[[], None]:
        """What draws the tab that was opened. Raises `ForbiddenError`."""
        ours(self._slack, event.team_id, event.app_id or self._slack.app_id)
        return partial(self._opened, event.user_id)

    def _opened(self, user: str) -> None:
        self._seen.pop(user, None)
        self._seen[user] = None
        if len(self._seen) > MOST_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._draw(user)

    def changed(self, user: str) -> None:
        """This person may have decided: their tab is drawn anew, if they use it."""
        if user in self._seen:
            self._draw(user)

    def _draw(self, user: str) -> None:
        """Once at a time for each, so that an older picture never covers a newer one."""
        if user in self._drawing:
            self._again.add(user)
        elif self._whispers.soon(partial(self._drawn, user), "home", user):
            self._drawing.add(user)

    async def _drawn(self, user: str) -> None:
        try:
            self._again.add(user)
            while user in self._again:
                self._again.discard(user)
                await self._slack.publish(user, await self._home(user))
        finally:
            self._drawing.discard(user)
            self._again.discard(user)

    async def _home(self, user: str) -> home.View:
        now = self._doors.clock()
        decided = await self._doors.database.read(
            waiting.answered_by, user, now, within=LATELY, limit=home.LATELY
        )
        return home.home(await self._waiting(user), decided, now=now)

    # --- what there is -------------------------------------------------------------------------------

    async def _waiting(self, user: str) -> list[HomeEntry]:
        cards, standing = await self._questions(user)
        return [HomeEntry(c) for c in cards if waits_for(c, user, standing)]

    async def _concerning(self, user: str, only: str | None = None) -> list[HomeEntry]:
        cards, standing = await self._questions(user, only)
        return [
            HomeEntry(c, opens=_may_look(c, user, standing)) for c in cards if concerns(c, user, standing)
        ]

    async def _questions(self, user: str, only: str | None = None) -> tuple[list[Card], tuple[str, ...]]:
        """The open questions, and which of the entries in them this person stands for."""
        cards = await self._doors.database.read(waiting.questions, self._doors.clock(), only=only)
        named = {entry for card in cards for entry in _named(card)}
        return cards, await self._doors.standing(user, named, ()) if named else ()


def _named(card: Card) -> set[str]:
    approval = card.approval
    return {*deciders(approval.terms, escalated=approval.escalated), *approval.terms.never}


def _may_look(card: Card, user: str, standing: Sequence[str]) -> bool:
    """Whether the window with the details would open for them."""
    return in_some_stage(card.approval.terms, {user, *standing}, escalated=card.approval.escalated)


def _questions(count: int, what: str = "waiting") -> str:
    if count == 0:
        return f"No question is {what}"
    return f"One question is {what}" if count == 1 else f"{count} questions are {what}"
