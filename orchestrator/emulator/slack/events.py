"""Events API: an address is proved, then told of what happens, and told again on demand.

Source: Slack, "Using the Events API", `app_home_opened`.
"""

import copy
import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orchestrator.emulator.slack.courier import KINDS, Click, Courier
from orchestrator.emulator.slack.inputs import CannotClick
from orchestrator.emulator.slack.settings import SlackEmulatorSettings
from orchestrator.emulator.slack.views import Views
from orchestrator.emulator.slack.workspace import Workspace


class Events:
    """Makes events of what happens in the workspace and has them delivered."""

    def __init__(
        self,
        settings: SlackEmulatorSettings,
        workspace: Workspace,
        views: Views,
        courier: Courier,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._workspace = workspace
        self._views = views
        self._courier = courier
        self._clock = clock

    async def verify(self) -> Click:
        """Post a challenge to the events address; a service that does not send it back is not believed.

        Raises:
            CannotClick: No address is set, or there is none to prove in Socket Mode.
        """
        if self._workspace.switches.socket_mode:
            raise CannotClick("in Socket Mode no address is verified")
        challenge = secrets.token_urlsafe(32)
        payload = {"type": "url_verification", "challenge": challenge, "token": "retired"}
        click = await self._courier.deliver(Click(*self._courier.numbered("url_verification", "", payload)))
        if click.error is None and _challenge(click.body) != challenge:
            click.error = "the service did not send the challenge back"
        return click

    async def send(self, event: dict[str, Any], user: str = "") -> Click:
        """Tell the app of an event, in the envelope of the Events API.

        Raises:
            CannotClick: No address is set.
        """
        settings = self._settings
        bot = {
            "team_id": settings.team_id,
            "user_id": settings.bot_user_id,
            "enterprise_id": None,
            "is_bot": True,
            "is_enterprise_install": False,
        }
        payload = {
            "type": "event_callback",
            "token": "retired",
            "team_id": settings.team_id,
            "api_app_id": settings.app_id,
            "event": event,
            "event_id": f"Ev{secrets.token_hex(5).upper()}",
            "event_time": int(self._clock()),
            "authorizations": [bot],
            "is_ext_shared_channel": False,
        }
        return await self._courier.deliver(Click(*self._courier.numbered("event_callback", user, payload)))

    async def again(self, click: Click, reason: str = "http_timeout") -> Click:
        """Send an event once more under its own id, as Slack does at once, after a minute and after five.

        Raises:
            CannotClick: It is no event, or no address is set.
        """
        if KINDS.get(click.kind) != "events_api":
            raise CannotClick("only events are sent again")
        number, kind, user, payload, now = self._courier.numbered(click.kind, click.user, click.payload)
        made = Click(number, kind, user, copy.deepcopy(payload), now)
        return await self._courier.deliver(replace(made, attempt=click.attempt + 1, reason=reason))

    async def home_opened(self, user: str) -> Click:
        """A person opens the app's Home tab.

        Raises:
            CannotClick: No such person, no Home tab, or no address is set.
        """
        if user not in self._workspace.users:
            raise CannotClick(f"no person {user}")
        if not self._workspace.switches.home_tab:
            raise CannotClick("the app has no Home tab")
        view = self._views.home(user)
        event = {
            "type": "app_home_opened",
            "user": user,
            "channel": self._workspace.direct(user).id,
            "tab": "home",
            "event_ts": f"{self._clock():.6f}",
            **({"view": self._views.wire(view)} if view else {}),
        }
        return await self.send(event, user)


def _challenge(body: str) -> str:
    """The challenge in an answer: JSON or plain text."""
    try:
        answer = json.loads(body)
    except ValueError:
        return body.strip()
    return str(answer.get("challenge")) if isinstance(answer, dict) else str(answer)
