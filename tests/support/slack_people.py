"""A person in the local Slack, for tests: presses, reads the modal that opens, fills it in, submits, types.

It works on the emulator's object in the same event loop (`app.state.slack`); over HTTP the control API under
`/_emulator/` does the same things.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from orchestrator.emulator.slack.courier import Click
from orchestrator.emulator.slack.local import LocalSlack
from orchestrator.emulator.slack.notifications import Notification
from orchestrator.emulator.slack.views import View
from orchestrator.emulator.slack.workspace import Message

T = TypeVar("T")

PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.01


class Person:
    """One person of a local Slack. What goes to the app gives its `Click`: `.failed`, `.body`, `.payload`."""

    def __init__(self, slack: LocalSlack, user: str) -> None:
        self.slack = slack
        self.user = user

    async def press(
        self,
        action_id: str,
        *,
        on: Message | None = None,
        text: str | None = None,
        choice: str | list[str] | None = None,
        values: dict[str, Any] | None = None,
    ) -> Click:
        """Use an element of a message: `on`, else the newest that has it and whose text holds `text`."""
        message = on or self.slack.latest(text_contains=text, action_id=action_id)
        return await self.slack.click(
            message.channel, message.ts, action_id, self.user, choice=choice, values=values
        )

    async def open(self, action_id: str, **where: Any) -> View:
        """Press what opens a modal, and wait for it; `where` as in `press`."""
        before = self.slack.modal(self.user)
        click = await self.press(action_id, **where)
        assert not click.failed, click.error
        return await self.sees(lambda: _other(self.slack.modal(self.user), before), "a modal")

    def modal(self) -> View:
        """The modal they see now; fails when there is none."""
        view = self.slack.modal(self.user)
        assert view is not None, f"{self.user} sees no modal"
        return view

    async def press_in_modal(self, action_id: str, **more: Any) -> Click:
        """Use an element of the modal; `choice`, `values` and `block_id` as for messages."""
        return await self.slack.interactivity.click_view(self.modal().id, action_id, **more)

    async def submit(self, **values: Any) -> Click:
        """Fill in the modal by block id and submit it: `submit(reason="Too much", risk="high")`.

        Afterwards `modal()` may be gone, changed, or the same with `errors` by block id.
        """
        return await self.slack.submit(self.user, values)

    async def cancel(self) -> Click | None:
        """Close the modal."""
        return await self.slack.close(self.user)

    async def open_home(self) -> View:
        """Open the Home tab and wait until something is published there."""
        click = await self.slack.open_home(self.user)
        assert not click.failed, click.error
        return await self.sees(lambda: self.slack.views.home(self.user), "a Home tab")

    async def press_at_home(self, action_id: str, **more: Any) -> Click:
        """Use an element of the Home tab."""
        view = self.slack.views.home(self.user)
        assert view is not None, f"{self.user} has no Home tab"
        return await self.slack.interactivity.click_view(view.id, action_id, **more)

    async def command(self, line: str, channel: str = "C0APPR") -> Click:
        """Enter a slash command, as `/approvals mine`."""
        return await self.slack.command(self.user, line, channel)

    def whispers(self) -> list[Message]:
        """What was said to them alone, oldest first."""
        return [m for m in self.slack.workspace.listed() if m.only_for == self.user and not m.deleted]

    def direct(self) -> list[Message]:
        """Their direct messages from the app, oldest first."""
        return self.slack.workspace.shown(f"D{self.user[1:]}", self.user)

    def notified(self) -> list[Notification]:
        """Every message that made a sound for them, oldest first."""
        return self.slack.notifications(self.user)

    async def sees(self, look: Callable[[], T | None], what: str) -> T:
        """What `look` gives as soon as it gives something; fails after `PATIENCE_SECONDS`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_SECONDS
        while (found := look()) is None:
            assert loop.time() < end, f"{self.user} never saw {what}"
            await asyncio.sleep(LOOK_SECONDS)
        return found


def _other(view: View | None, before: View | None) -> View | None:
    return view if view is not before else None
