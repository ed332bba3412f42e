"""Shortcuts in Slack: what waits for a person, and the details of the question a message shows.

A message shortcut works on any message, also a forged one: which question it shows is what our rows say.
"""

from orchestrator.domain.consent import Approval
from orchestrator.domain.values import replace
from orchestrator.slack import modals
from orchestrator.slack.action import Shortcut, ShownQuestion
from orchestrator.store import questions
from orchestrator.web.clicks import admit
from orchestrator.web.doors import Doors, SlackDoor
from orchestrator.web.inbox import Inbox
from orchestrator.web.windows import Windows

SHOWS_NONE = "This message shows no question of ours. What waits for you is on the Home tab of this app."
_DIGEST = 16  # characters of a digest that name what was shown


class Shortcuts:
    """Opens the windows that shortcuts stand for; nothing is decided by one."""

    def __init__(self, doors: Doors, slack: SlackDoor, windows: Windows, inbox: Inbox) -> None:
        self._doors = doors
        self._slack = slack
        self._windows = windows
        self._inbox = inbox

    async def use(self, used: Shortcut) -> str:
        """What to whisper to the person, empty for nothing.

        Raises:
            ForbiddenError: From a workspace or an app that is not ours, or by a bot.
            UnavailableError: A window could not be opened for one who can be told in no other way.
        """
        # Slack's shortcuts name no app: that they are for ours is what the signature, or the socket, says.
        used = replace(used, app_id=used.app_id or self._slack.app_id)
        refused = admit(self._slack, used)
        if not used.ts:
            view = modals.said("Not done", refused) if refused else await self._inbox.window(used.user_id)
            await self._windows.show(used, view)
            return ""
        if refused:
            return refused
        shown = await self._doors.database.read(questions.shown_at, used.channel, used.ts)
        return SHOWS_NONE if shown is None else await self._windows.open(used.on(_as_shown(shown)))


def _as_shown(approval: Approval) -> ShownQuestion:
    return ShownQuestion(approval.id, approval.revision, approval.digest[:_DIGEST])
