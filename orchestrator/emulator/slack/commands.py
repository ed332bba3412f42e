"""Slash commands: what a person types, posted as Slack posts it, and the answer shown.

Source: Slack, "Implementing slash commands".
"""

import json
from collections.abc import Callable
from typing import Any

from orchestrator.emulator.slack.arguments import whole_text
from orchestrator.emulator.slack.courier import Click, Courier
from orchestrator.emulator.slack.inputs import CannotClick
from orchestrator.emulator.slack.responses import Responses
from orchestrator.emulator.slack.settings import SlackChannel, SlackEmulatorSettings
from orchestrator.emulator.slack.tickets import Refused, Ticket, Tickets
from orchestrator.emulator.slack.workspace import SLACKBOT, Workspace


class Commands:
    """Sends people's commands to the app."""

    def __init__(
        self,
        settings: SlackEmulatorSettings,
        workspace: Workspace,
        tickets: Tickets,
        courier: Courier,
        responses: Responses,
        base_url: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._workspace = workspace
        self._tickets = tickets
        self._courier = courier
        self._responses = responses
        self._base_url = base_url

    async def run(self, user: str, line: str, channel: str) -> Click:
        """Have a person enter a line such as `/approvals mine` in a channel.

        What the app answers is shown: JSON as a message, plain text as a whisper, nothing as nothing. If it
        does not answer, Slackbot tells the person.

        Raises:
            CannotClick: No such person, channel or command, or no address is set.
        """
        command, _, text = line.strip().partition(" ")
        place = self._workspace.channels.get(channel)
        person = self._workspace.users.get(user)
        if person is None or person.deleted:
            raise CannotClick(f"no person {user}")
        if place is None or not self._workspace.member(place, user):
            raise CannotClick(f"{user} is in no channel {channel}")
        if command not in self._settings.commands:
            raise CannotClick(f"{command} is not a valid command; there are {list(self._settings.commands)}")
        payload = self._payload(user, place, command, text.strip())
        click = await self._courier.deliver(
            Click(*self._courier.numbered("command", user, payload), channel=channel)
        )
        self._show(click, Ticket(user, 0.0, 0, channel))
        return click

    def _payload(self, user: str, channel: SlackChannel, command: str, text: str) -> dict[str, str]:
        settings, direct = self._settings, channel.id.startswith("D")
        secret = self._tickets.response(user, channel.id, "")
        named = "directmessage" if direct else "privategroup" if channel.is_private else channel.name
        return {
            "token": "retired",
            "team_id": settings.team_id,
            "team_domain": settings.team_domain,
            "channel_id": channel.id,
            "channel_name": named,
            "user_id": user,
            "user_name": self._workspace.users[user].name,
            "command": command,
            "text": text,
            "api_app_id": settings.app_id,
            "is_enterprise_install": "false",
            "response_url": f"{self._base_url()}/actions/{settings.team_id}/{secret}",
            "trigger_id": self._tickets.trigger(user),
        }

    def _show(self, click: Click, ticket: Ticket) -> None:
        """Say the answer where the command was typed; an answer Slack cannot use is a failure too."""
        try:
            answer = _answer(click.body) if click.error is None else None
            if answer is not None:
                self._responses.say(ticket, answer)
        except (Refused, ValueError) as problem:
            click.error = f"the answer cannot be used: {problem}"
        if click.error is not None:
            code = "operation_timeout" if click.status is None else "dispatch_failed"
            command = click.payload["command"]
            said = f"{command} failed with the error `{code}` ({click.error})"
            self._responses.say(ticket, {"text": said}, author=SLACKBOT)


def _answer(body: str) -> dict[str, Any] | None:
    """An answer as a message: JSON if it is an object, else its words; None for an empty one."""
    if not body.strip():
        return None
    try:
        decoded = json.loads(body)
    except ValueError:
        return {"text": body}
    if not isinstance(decoded, dict):
        return {"text": body}
    shown = {key: whole_text(value) for key, value in decoded.items()}
    return shown if shown.get("text") or shown.get("blocks") else None
