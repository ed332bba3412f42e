"""The registered webhooks: who hears what, and under which secrets.

Source: Gemini API, Webhooks (REST reference and guide); the live service's own habits are named at each rule.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from orchestrator.emulator.gemini.clock import Clock
from orchestrator.emulator.gemini.errors import invalid, not_found
from orchestrator.emulator.gemini.ids import Ids
from orchestrator.emulator.gemini.interactions import instant
from orchestrator.emulator.gemini.settings import SUBSCRIBABLE, EmulatorSettings, StaticWebhook
from orchestrator.emulator.gemini.validation import check_fields, check_uri

Json = dict[str, Any]
OVERLAP: Final = timedelta(hours=24)  # how long an old secret still signs
PAGE_SIZE: Final = 50
PAGE_SIZE_MAX: Final = 1000
HEARD_BY: Final = {"batch.cancelled": "batch.failed"}  # what nobody can subscribe to goes to these
AFTER_DAY: Final = "revoke_previous_secrets_after_h24"
AT_ONCE: Final = "revoke_previous_secrets_immediately"


@dataclass
class Secret:
    """A signing secret, until `expires` or for good."""

    value: str
    expires: datetime | None = None


@dataclass(eq=False)
class Webhook:
    """A registered webhook; `project` is None for one that every project has."""

    id: str
    project: str | None
    uri: str
    subscribed_events: list[str]
    name: str | None
    secrets: list[Secret]
    state: str = "enabled"
    failing_since: datetime | None = None
    failures: int = 0
    gone: bool = False

    def succeeded(self) -> None:
        """A delivery was taken: what failed before is forgotten."""
        self.failing_since, self.failures = None, 0

    def current(self, now: datetime) -> list[str]:
        """The secrets that sign at this instant, newest first."""
        self.secrets = [s for s in self.secrets if s.expires is None or s.expires > now]
        return [secret.value for secret in self.secrets]

    def view(self, now: datetime) -> Json:
        """The resource as JSON, without whole secrets and without times, which live answers never had."""
        self.current(now)
        named = {"name": self.name} if self.name is not None else {}
        return {
            "id": self.id,
            **named,
            "uri": self.uri,
            "state": self.state,
            "subscribed_events": self.subscribed_events,
            "signing_secrets": [_truncated(secret) for secret in self.secrets],
        }


class Webhooks:
    """The registry of every project's webhooks."""

    def __init__(self, settings: EmulatorSettings, clock: Clock, ids: Ids) -> None:
        self._hosts = settings.plain_http_hosts
        self._clock, self._ids = clock, ids
        self._all: dict[str, Webhook] = {}
        for static in settings.webhooks:
            self.register(static)

    def register(self, static: StaticWebhook) -> Webhook:
        """Add a webhook with a secret of the caller's choice to a project, or to every one."""
        events = check_events(list(static.subscribed_events))
        uri = check_uri(static.uri, self._hosts, "uri")
        return self._keep(
            Webhook(self._ids.webhook(), static.project, uri, events, static.name, [Secret(static.secret)])
        )

    def create(self, project: str, body: Any) -> Json:
        """Register a webhook; its secret is in this answer and in no other.

        Raises:
            ApiError: 400.
        """
        _check(body)
        for key in ("uri", "subscribed_events"):
            if key not in body:
                raise invalid(f"'{key}' must be set.")
        uri = check_uri(body["uri"], self._hosts, "uri")
        events = check_events(body["subscribed_events"])
        secret = self._ids.secret()
        made = Webhook(self._ids.webhook(), project, uri, events, body.get("name"), [Secret(secret)])
        made.state = _state(body.get("state", "enabled"))
        return {**self._keep(made).view(self._clock.now()), "new_signing_secret": secret}

    def get(self, project: str, name: str) -> Webhook:
        """A webhook of this project.

        Raises:
            ApiError: 404.
        """
        found = self._all.get(name)
        if found is None or found.project not in (project, None):
            raise not_found("Webhook", name)
        return found

    def list(self, project: str, page_size: str | None, page_token: str | None) -> Json:
        """A page of the project's webhooks, oldest first.

        Raises:
            ApiError: 400 for a size or token that is none.
        """
        size = _size(page_size)
        start = _offset(page_token)
        mine = self.of(project)
        page: Json = {"webhooks": [hook.view(self._clock.now()) for hook in mine[start : start + size]]}
        if start + size < len(mine):
            page["next_page_token"] = base64.urlsafe_b64encode(str(start + size).encode()).decode()
        return page

    def of(self, project: str) -> Sequence[Webhook]:
        """Every webhook of a project."""
        return [hook for hook in self._all.values() if hook.project in (project, None)]

    def subscribers(self, project: str, event: str) -> Sequence[Webhook]:
        """Who is to hear of this event."""
        hooks, wanted = self.of(project), HEARD_BY.get(event, event)
        return [hook for hook in hooks if hook.state == "enabled" and wanted in hook.subscribed_events]

    def at(self, uri: str) -> Webhook | None:
        """The webhook registered for an address, if there is one."""
        return next((hook for hook in self._all.values() if hook.uri == uri), None)

    def update(self, project: str, name: str, body: Any) -> Json:
        """Change the fields that the body has; live, the update mask is ignored.

        Raises:
            ApiError: 400, 404.
        """
        hook = self.get(project, name)
        _check(body)
        uri = check_uri(body.get("uri", hook.uri), self._hosts, "uri")
        events = check_events(body.get("subscribed_events", hook.subscribed_events))
        state = _state(body["state"]) if "state" in body else hook.state
        hook.uri, hook.subscribed_events, hook.name = uri, events, body.get("name", hook.name)
        if state == "enabled":
            hook.succeeded()
        hook.state = state
        return hook.view(self._clock.now())

    def rotate(self, project: str, name: str, body: Any) -> Json:
        """Give a webhook a new secret; the old ones sign for another day, or not at all.

        Raises:
            ApiError: 400, 404.
        """
        hook = self.get(project, name)
        check_fields(body, {"revocation_behavior": (str,)})
        behavior = body.get("revocation_behavior", AFTER_DAY)
        if behavior not in (AFTER_DAY, AT_ONCE):
            raise invalid(f"revocation_behavior '{behavior}' is not supported.")
        new, end = Secret(self._ids.secret()), self._clock.now() + OVERLAP
        kept = (
            [Secret(old.value, old.expires or end) for old in hook.secrets] if behavior == AFTER_DAY else []
        )
        hook.secrets = [new, *kept]
        return {"secret": new.value}

    def delete(self, project: str, name: str) -> None:
        """Forget a webhook; what is still on its way to it is dropped.

        Raises:
            ApiError: 404.
        """
        self.get(project, name).gone = True
        del self._all[name]

    def _keep(self, hook: Webhook) -> Webhook:
        self._all[hook.id] = hook
        return hook


def check_events(events: list[Any]) -> list[str]:
    """A non-empty list of subscribable event types.

    Raises:
        ApiError: 400, naming the seven.
    """
    if not events:
        raise invalid("'subscribed_events' must not be empty.")
    for event in events:
        if event not in SUBSCRIBABLE:
            raise invalid(f"'{event}' is not a subscribable event; known: {', '.join(SUBSCRIBABLE)}.")
    return list(dict.fromkeys(events))


def _check(body: Any) -> None:
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object.")
    check_fields(body, {"uri": (str,), "name": (str,), "subscribed_events": (list,), "state": (str,)})


def _state(state: str) -> str:
    if state not in ("enabled", "disabled"):
        raise invalid(f"state '{state}' cannot be set.")
    return state


def _truncated(secret: Secret) -> Json:
    shown: Json = {"truncated_secret": f"whsec_...{secret.value[-4:]}"}
    if secret.expires is not None:
        shown["expire_time"] = instant(secret.expires)
    return shown


def _size(page_size: str | None) -> int:
    if page_size is None:
        return PAGE_SIZE
    if not page_size.isdecimal() or not 1 <= int(page_size) <= PAGE_SIZE_MAX:
        raise invalid(f"page_size must be between 1 and {PAGE_SIZE_MAX}.")
    return int(page_size)


def _offset(page_token: str | None) -> int:
    if not page_token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(page_token.encode()))
    except ValueError as error:
        raise invalid("page_token is not valid.") from error
