"""Clicks and submissions: the payload Slack would send, signed, posted, and its answer acted on.

Source: Slack, "Handling user interaction", "Verifying requests from Slack", "Modals".
"""

import asyncio
import copy
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx

from orchestrator.emulator.slack.inputs import (
    CannotClick,
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


@dataclass
class Click:
    """One interactivity post and its answer. Times are seconds; `sent_at` is Unix time.

    `status` is None when no answer came in time; `error` says in words what went wrong, None if nothing did.
    """

    number: int
    kind: str
    user: str
    payload: dict[str, Any]
    sent_at: float
    channel: str | None = None
    ts: str | None = None
    action_id: str | None = None
    view_id: str | None = None
    status: int | None = None
    body: str = ""
    took_seconds: float = 0.0
    error: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the person saw a failure mark."""
        return self.error is not None

    def wire(self) -> dict[str, Any]:
        """As the control API shows it."""
        return {**asdict(self), "failed": self.failed}


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """The `X-Slack-Signature` of a body sent at `timestamp` (Unix seconds)."""
    base = b"v0:" + str(timestamp).encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


class Interactivity:
    """Turns what a person does into posts to the app. `url` is where they go."""

    def __init__(
        self,
        settings: SlackEmulatorSettings,
        workspace: Workspace,
        views: Views,
        tickets: Tickets,
        clock: Callable[[], float],
        base_url: Callable[[], str],
    ) -> None:
        self.url = settings.interactivity_url
        self.clicks: list[Click] = []
        self._settings = settings
        self._workspace = workspace
        self._views = views
        self._tickets = tickets
        self._clock = clock
        self._base_url = base_url

    async def click(
        self,
        channel: str,
        ts: str,
        action_id: str,
        user: str,
        *,
        block_id: str | None = None,
        choice: str | list[str] | None = None,
        values: dict[str, dict[str, Any]] | None = None,
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
        return await self._post(
            Click(*self._numbered("block_actions", user, payload), channel, ts, action_id)
        )

    async def click_view(
        self,
        view_id: str,
        action_id: str,
        *,
        block_id: str | None = None,
        choice: str | list[str] | None = None,
    ) -> Click:
        """Use one element inside a modal or Home tab, as the person who sees it.

        Raises:
            CannotClick: No such view, element or address.
        """
        view = self._view(view_id)
        block, element = find_element(view.blocks, action_id, block_id)
        action = self._action(block, element, choice, view.state)
        wired = self._views.wire(view)
        payload = {
            **self._head("block_actions", self._person(view.user)),
            "container": {"type": "view", "view_id": view.id},
            "view": wired,
            "state": wired["state"],
            "actions": [action],
        }
        made = Click(
            *self._numbered("block_actions", view.user, payload), action_id=action_id, view_id=view_id
        )
        return await self._post(made)

    async def submit(self, view_id: str, values: dict[str, dict[str, Any]] | None = None) -> Click:
        """Fill in a modal and press its submit button, then do what the answer says.

        Args:
            values: By block id and action id: the text, an option's value, an id, or a list of these.

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
        click = Click(*self._numbered("view_submission", view.user, payload), view_id=view.id)
        await self._post(click)
        self._answered(view, click)
        return click

    async def close(self, view_id: str) -> Click | None:
        """Close a modal; the app hears of it if the view asked for that."""
        view = self._view(view_id)
        self._views.close(view)
        if not view.definition.get("notify_on_close"):
            return None
        head = self._head("view_closed", self._person(view.user))
        payload = {**head, "view": self._views.wire(view), "is_cleared": False}
        return await self._post(Click(*self._numbered("view_closed", view.user, payload), view_id=view.id))

    def fill(self, view: View, values: dict[str, dict[str, Any]]) -> None:
        """Type into a modal without sending it.

        Raises:
            CannotClick: No such block or element, or not an option it offers.
        """
        for block_id, row in values.items():
            for action_id, given in row.items():
                block, element = find_element(view.blocks, action_id, block_id)
                view.state[block["block_id"]][action_id] = state_entry(element, chosen_value(element, given))

    def _person(self, user: str) -> dict[str, Any]:
        person = self._workspace.users.get(user)
        if person is None:
            raise CannotClick(f"no person {user}")
        names = {"username": person.name, "name": person.name}
        return {"id": user, **names, "team_id": self._settings.team_id}

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

    def _numbered(
        self, kind: str, user: str, payload: dict[str, Any]
    ) -> tuple[int, str, str, dict[str, Any], float]:
        return len(self.clicks) + 1, kind, user, payload, self._clock()

    async def _post(self, click: Click) -> Click:
        """Sign and post; the click keeps the answer, or in words why there was none."""
        if self.url is None:
            raise CannotClick("no interactivity address is set")
        self.clicks.append(click)
        body = urlencode({"payload": json.dumps(click.payload)}).encode()
        stamp = int(self._clock())
        click.headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": "Slackbot 1.0 (local stand-in)",
            "X-Slack-Request-Timestamp": str(stamp),
            "X-Slack-Signature": sign(self._settings.signing_secret, stamp, body),
        }
        began = time.perf_counter()
        try:
            async with (
                asyncio.timeout(self._settings.answer_seconds),
                httpx.AsyncClient(trust_env=False) as http,
            ):
                answer = await http.post(self.url, content=body, headers=click.headers, timeout=None)
                click.status, click.body = answer.status_code, answer.text
        except TimeoutError:
            click.error = f"no answer within {self._settings.answer_seconds:g} s"
        except httpx.HTTPError as problem:
            click.error = f"the service could not be reached: {problem or type(problem).__name__}"
        click.took_seconds = round(time.perf_counter() - began, 3)
        if click.status is not None and click.status != 200:
            click.error = f"the service answered HTTP {click.status}"
        return click

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
