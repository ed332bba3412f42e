"""Clicks and submissions: the payload Slack would send, delivered, and its answer acted on.

Source: Slack, "Handling user interaction", "Modals", "Shortcuts".
"""

import copy
import json
from collections.abc import Callable
from typing import Any

from orchestrator.emulator.slack.courier import Click, Courier, sign
from orchestrator.emulator.slack.inputs import (
    CannotClick,
    Values,
    by_action,
    chosen_value,
    find_element,
    missing_inputs,
    type_into,
    usable_errors,
)
from orchestrator.emulator.slack.settings import SlackEmulatorSettings
from orchestrator.emulator.slack.tickets import Refused, Tickets
from orchestrator.emulator.slack.views import View, Views
from orchestrator.emulator.slack.workspace import Message, Workspace, sent_along, state_entry, value_key

__all__ = ["Click", "Interactivity", "sign"]


class Interactivity:
    """Turns what a person does into deliveries to the app."""

    def __init__(
        self,
        settings: SlackEmulatorSettings,
        workspace: Workspace,
        views: Views,
        tickets: Tickets,
        courier: Courier,
        clock: Callable[[], float],
        base_url: Callable[[], str],
    ) -> None:
        self._courier = courier
        self._settings = settings
        self._workspace = workspace
        self._views = views
        self._tickets = tickets
        self._clock = clock
        self._base_url = base_url

    @property
    def url(self) -> str | None:
        """Where interactions are posted; None for nowhere."""
        return self._courier.urls["interactive"]

    @url.setter
    def url(self, url: str | None) -> None:
        self._courier.urls["interactive"] = url

    async def click(
        self,
        channel: str,
        ts: str,
        action_id: str,
        user: str,
        *,
        block_id: str | None = None,
        choice: str | list[str] | None = None,
        values: Values | None = None,
    ) -> Click:
        """Use one element of a message as `user`.

        Args:
            choice: For elements other than buttons: an option's value, an id or a date; a list where
                several may be chosen.
            values: What they put into the message's input blocks before; see `inputs.type_into`.

        Raises:
            CannotClick: No such message, element, person or address.
        """
        message = self._workspace.find(channel, ts)
        if message is None:
            raise CannotClick(f"no message {ts} in {channel}")
        block, element = find_element(message.blocks, action_id, block_id)
        if sent_along(block):
            raise CannotClick(f"{action_id} is not pressed: what it holds goes along with a button")
        person = self._person(user)
        type_into(message, user, values or {})
        action = self._action(block, element, choice, message.state)
        payload = {
            **self._head("block_actions", person),
            "container": self._container(message),
            "channel": {"id": channel, "name": self._channel_name(channel)},
            **({} if message.only_for else {"message": self._workspace.wire(message, with_metadata=True)}),
            "state": {"values": message.state_of(user)},
            "response_url": self._response_url(user, message),
            "actions": [action],
        }
        return await self._courier.deliver(
            Click(*self._courier.numbered("block_actions", user, payload), channel, ts, action_id)
        )

    async def click_view(
        self,
        view_id: str,
        action_id: str,
        *,
        block_id: str | None = None,
        choice: str | list[str] | None = None,
        values: Values | None = None,
    ) -> Click:
        """Use one element inside a modal or Home tab, as the person who sees it.

        Args:
            values: What they typed into its inputs before; see `submit`.

        Raises:
            CannotClick: No such view, element or address.
        """
        view = self._view(view_id)
        block, element = find_element(view.blocks, action_id, block_id)
        person = self._person(view.user)
        self.fill(view, values or {})
        action = self._action(block, element, choice, view.state)
        wired = self._views.wire(view)
        payload = {
            **self._head("block_actions", person),
            "container": {"type": "view", "view_id": view.id},
            "view": wired,
            "state": wired["state"],
            "actions": [action],
        }
        made = Click(
            *self._courier.numbered("block_actions", view.user, payload), action_id=action_id, view_id=view_id
        )
        return await self._courier.deliver(made)

    async def submit(self, view_id: str, values: Values | None = None) -> Click:
        """Fill in a modal and press its submit button, then do what the answer says.

        Args:
            values: By block id and action id: the text, an option's value, an id, or a list of these. A block
                with one element may be given the value itself.

        Raises:
            CannotClick: No such modal, block, element or address, or a required field is empty or too long.
        """
        view = self._view(view_id)
        self.fill(view, values or {})
        view.errors, view.trouble = missing_inputs(view), None
        if view.errors:  # Slack's own client does not send such a form either
            raise CannotClick("; ".join(f"{block_id}: {said}" for block_id, said in view.errors.items()))
        head = self._head("view_submission", self._person(view.user))
        payload = {**head, "view": self._views.wire(view), "response_urls": []}
        click = Click(*self._courier.numbered("view_submission", view.user, payload), view_id=view.id)
        await self._courier.deliver(click)
        self._answered(view, click)
        return click

    async def close(self, view_id: str) -> Click | None:
        """Close a modal, or the whole stack where it says so; the app hears of it if the views ask for that.

        Returns:
            What was told of the modal itself; None when nothing was.
        """
        view = self._view(view_id)
        person = self._person(view.user)
        cleared = bool(view.definition.get("clear_on_close"))
        gone = list(self._views.stack(view.user)) if cleared else [view]
        for one in gone:
            self._views.close(one)
        asking = [one for one in reversed(gone) if one.definition.get("notify_on_close")]
        told = [await self._tell_closed(one, person, cleared) for one in asking]
        return told[0] if told else None

    async def _tell_closed(self, view: View, person: dict[str, Any], cleared: bool) -> Click:
        payload = {
            **self._head("view_closed", person),
            "view": self._views.wire(view),
            "is_cleared": cleared,
        }
        made = self._courier.numbered("view_closed", view.user, payload)
        return await self._courier.deliver(Click(*made, view_id=view.id))

    async def shortcut(
        self, user: str, callback_id: str, channel: str | None = None, ts: str | None = None
    ) -> Click:
        """Use a shortcut of the app: on a message where `channel` and `ts` name one, else the global kind.

        Raises:
            CannotClick: No such person, message or address.
        """
        message = None if ts is None else self._workspace.find(str(channel), ts)
        if ts is not None and message is None:
            raise CannotClick(f"no message {ts} in {channel}")
        kind = "shortcut" if message is None else "message_action"
        payload = {**self._head(kind, self._person(user)), "callback_id": callback_id}
        del payload["api_app_id"]  # shortcuts name no app
        payload["action_ts"] = f"{self._clock():.6f}"
        if message is not None:
            payload |= {
                "channel": {"id": message.channel, "name": self._channel_name(message.channel)},
                "message_ts": message.ts,
                "message": self._workspace.wire(message, with_metadata=True),
                "response_url": self._response_url(user, message),
            }
        made = self._courier.numbered(kind, user, payload)
        return await self._courier.deliver(Click(*made, message.channel if message else None, ts))

    def fill(self, view: View, values: Values) -> None:
        """Type into a modal without sending it.

        Raises:
            CannotClick: No such block or element, or not an option it offers.
        """
        for block_id, row in by_action(view.blocks, values).items():
            for action_id, given in row.items():
                block, element = find_element(view.blocks, action_id, block_id)
                view.state[block["block_id"]][action_id] = state_entry(element, chosen_value(element, given))

    def _person(self, user: str) -> dict[str, Any]:
        person = self._workspace.users.get(user)
        if person is None:
            raise CannotClick(f"no person {user}")
        if person.deleted:
            raise CannotClick(f"{user} is deactivated")
        names = {"username": person.name, "name": person.name}
        return {"id": user, **names, "team_id": person.team_id or self._settings.team_id}

    def _view(self, view_id: str) -> View:
        try:
            return self._views.find(view_id)
        except Refused:
            raise CannotClick(f"no open view {view_id}") from None

    def _head(self, kind: str, person: dict[str, Any]) -> dict[str, Any]:
        team = {"id": self._settings.team_id, "domain": self._settings.team_domain}
        return {
            "type": kind,
            "api_app_id": self._settings.app_id,
            "trigger_id": self._tickets.trigger(person["id"]),
            "team": team,
            "enterprise": None,
            "is_enterprise_install": False,
            "user": person,
        }

    def _container(self, message: Message) -> dict[str, Any]:
        made = {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": message.channel,
            "is_ephemeral": message.only_for is not None,
        }
        return made if message.thread_ts is None else {**made, "thread_ts": message.thread_ts}

    def _channel_name(self, channel: str) -> str:
        return "directmessage" if channel.startswith("D") else self._workspace.channels[channel].name

    def _response_url(self, user: str, message: Message) -> str:
        secret = self._tickets.response(user, message.channel, message.ts)
        return f"{self._base_url()}/actions/{self._settings.team_id}/{secret}"

    def _action(
        self,
        block: dict[str, Any],
        element: dict[str, Any],
        choice: str | list[str] | None,
        state: dict[str, dict[str, Any]],
    ) -> dict[str, Any]:
        """One entry of `actions`; what a select was set to is also remembered in `state`."""
        now = self._clock()
        ids = {"type": element["type"], "action_id": element["action_id"], "block_id": block["block_id"]}
        action = {**ids, "action_ts": f"{now:.6f}"}
        if element["type"] in ("button", "icon_button"):
            kept: dict[str, Any] = {k: element[k] for k in ("text", "value", "style", "url") if k in element}
            return {**action, **copy.deepcopy(kept)}
        if element["type"] == "feedback_buttons":
            named = element["positive_button" if choice != "negative" else "negative_button"]
            return {**action, "value": named["value"]}
        chosen = chosen_value(element, choice)
        if element["type"] != "overflow":
            state[block["block_id"]][element["action_id"]] = state_entry(element, chosen)
        return {**action, value_key(element): chosen}

    def _answered(self, view: View, click: Click) -> None:
        """Do what the answer to a submission says; a wrong answer leaves the modal open with a reason."""
        try:
            if click.error is None:
                self._respond(view, click.body)
        except (Refused, ValueError) as problem:
            click.error = f"the answer cannot be used: {problem}"
        if click.error is not None:
            view.trouble = click.error

    def _respond(self, view: View, body: str) -> None:
        answer = json.loads(body) if body.strip() else {}
        if not isinstance(answer, dict):
            raise ValueError("not an object")
        match answer.get("response_action"):
            case None:
                self._views.close(view)
            case "clear":
                self._views.clear(view.user)
            case "update":
                self._views.redraw(view, answer.get("view"))
            case "push":
                self._views.open(view.user, answer.get("view"), push=True)
            case "errors":
                view.errors = usable_errors(view, answer.get("errors"))
            case other:
                raise ValueError(f"unknown response_action {other!r}")
