"""Everything Slack sends, by whichever way it comes: one function from a payload to an answer.

The addresses verify a signature first, a socket of ours is proof by itself; from there on it is the same.
What is decided is committed before the answer; what follows from it for the person alone comes after.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeGuard

import structlog

from orchestrator.domain.plain import JsonObject
from orchestrator.errors import ForbiddenError, InvalidError, UnavailableError
from orchestrator.slack import action, incoming, interactivity
from orchestrator.slack.response_actions import not_recorded
from orchestrator.web.clicks import Clicks, ours
from orchestrator.web.doors import Doors, SlackDoor
from orchestrator.web.inbox import Inbox
from orchestrator.web.shortcuts import Shortcuts
from orchestrator.web.submissions import Submissions
from orchestrator.web.whispers import Whispers
from orchestrator.web.windows import OPENS, Windows

log = structlog.get_logger(__name__)

Kind = Literal["interactive", "slash_commands", "events_api"]
"""What Slack sends, by the names it has in Socket Mode."""
ANSWER_SECONDS: Final = 2.5
"""Slack shows a failure after 3."""
_READ: Final[Mapping[Kind, Callable[[Mapping[str, Any]], Any]]] = {
    "interactive": interactivity.read,
    "slash_commands": incoming.command,
    "events_api": incoming.event,
}


@dataclass(frozen=True, slots=True)
class Heard:
    """What follows from something of Slack's: the answer, if it wants one, and what is done after that."""

    answer: JsonObject | None = None
    after: Callable[[], object] = lambda: None


class SlackHandler:
    """Hears what Slack sends, whichever way it came, and says what it is answered."""

    def __init__(self, doors: Doors, slack: SlackDoor, whispers: Whispers) -> None:
        self._slack = slack
        self._clicks, self._windows = Clicks(doors, slack), Windows(doors, slack)
        self._submissions = Submissions(doors, slack)
        self._inbox = Inbox(doors, slack, whispers)
        self._shortcuts = Shortcuts(doors, slack, self._windows, self._inbox)
        self._whispers = whispers
        self._outcomes = doors.counters.outcomes("slack")

    async def take(self, kind: Kind, payload: Mapping[str, Any]) -> Heard:
        """The answer, within the time Slack gives.

        Raises:
            InvalidError: Not of a form Slack sends.
            ForbiddenError: From a workspace or an app that is not ours, or by a bot.
            UnavailableError: Not done in time, or a window could not be opened.
        """
        taken = _READ[kind](payload)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._answer(taken)
        except TimeoutError as e:
            raise UnavailableError("not recorded in time") from e
        except ForbiddenError as e:
            log.warning("click_refused", reason=str(e))
            raise ForbiddenError("not for us") from e

    async def over_socket(self, kind: str, payload: JsonObject | None) -> JsonObject | None:
        """The same for what came over a connection of ours; counted as what is posted is.

        What is of no kind there is, or says nothing, gets an empty answer: Slack would send it again, and
        take us for broken.
        """
        if payload is None or not _known(kind):
            self._outcomes.refused.inc()
            log.warning("slack_envelope_unknown", kind=kind[:40])
            return None
        try:
            # Read as strictly as what is posted: the library takes JSON of any kind.
            heard = await self.take(kind, incoming.json_of(json.dumps(payload).encode()))
        except (InvalidError, ForbiddenError):
            self._outcomes.refused.inc()
            raise
        except Exception:
            self._outcomes.failed.inc()
            raise
        self._outcomes.taken.inc()
        heard.after()
        return heard.answer

    async def _answer(self, taken: Any) -> Heard:
        match taken:
            case action.Submission():
                answer = await self._submissions.send(taken)
                return Heard(answer, partial(self._inbox.changed, taken.user_id))
            case action.Click():
                opens = taken.kind in OPENS
                words = await (self._windows.open(taken) if opens else self._clicks.take(taken))
                return Heard(after=partial(self._clicked, taken, words))
            case action.Shortcut():
                words = await self._shortcuts.use(taken)
                return Heard(after=partial(self._whisper, taken, words))
            case action.OtherAction():
                return self._other(taken, await self._clicks.take(taken))
            case incoming.Command():
                return Heard(await self._inbox.command(taken))
            case incoming.HomeOpened():
                return Heard(after=self._inbox.opened(taken))
            case incoming.Removed():
                ours(self._slack, taken.team_id, taken.app_id)
                self._slack.removed(taken.event)
            case incoming.Challenge():
                return Heard({"challenge": taken.text})
        return Heard()  # an event nothing is done about

    def _other(self, taken: action.OtherAction, words: str) -> Heard:
        """A window stays open until it is told something; anybody else is whispered to, where that can be."""
        if taken.sent:
            return Heard(not_recorded(words) if words else None)
        if words and not (taken.channel or taken.response_url):
            raise InvalidError(taken.reason, (("actions", "of no button there is"),))  # Slack shows a failure
        return Heard(after=partial(self._whisper, taken, words))

    def _clicked(self, click: action.Click, words: str) -> None:
        self._whisper(click, words)
        if click.kind not in OPENS:
            self._inbox.changed(click.user_id)

    def _whisper(self, taken: action.Click | action.Shortcut | action.OtherAction, words: str) -> None:
        if words:
            self._whispers.say(
                channel=taken.channel, user=taken.user_id, text=words, response_url=taken.response_url
            )


def _known(kind: str) -> TypeGuard[Kind]:
    return kind in _READ
