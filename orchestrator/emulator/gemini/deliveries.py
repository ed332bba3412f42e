"""Webhook events on their way: to whom, signed how, tried when.

A delivery keeps its id over all attempts, each attempt has its own timestamp. Source: Gemini API, Webhooks,
"Delivery"; Standard Webhooks for headers. Times between attempts are unpublished: ours double.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import httpx

from orchestrator.emulator.gemini.clock import Cancellable, Clock
from orchestrator.emulator.gemini.faults import OLD_SECONDS, Fault, Faults
from orchestrator.emulator.gemini.ids import Ids
from orchestrator.emulator.gemini.interactions import Interaction, instant
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.gemini.signing import KeySet, sign_static
from orchestrator.emulator.gemini.webhooks import Webhook, Webhooks

Json = dict[str, Any]
EVENTS: Final = {
    "requires_action": "interaction.requires_action",
    "completed": "interaction.completed",
    "failed": "interaction.failed",
}  # `incomplete`, `budget_exceeded` and `cancelled` have no event that one could subscribe to
KEYS: Final = 3


@dataclass(frozen=True)
class Attempt:
    """One try. `status` is the receiver's answer, or `error` says why there was none."""

    at: datetime
    status: int | None = None
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Did the receiver take it (any 2xx)?"""
        return self.status is not None and 200 <= self.status < 300

    def view(self) -> Json:
        """The attempt as JSON."""
        return {"at": self.at.isoformat(), "status": self.status, "error": self.error}


@dataclass(eq=False)
class Delivery:
    """One event for one address. `webhook` is None for an address named in the request (dynamic)."""

    id: str
    event: str
    uri: str
    body: bytes
    webhook: Webhook | None
    interaction: str | None = None
    state: str = "waiting"
    attempts: list[Attempt] = field(default_factory=list)
    fault: Fault | None = None
    job: Cancellable | None = None

    def view(self) -> Json:
        """The delivery as JSON; `state` is waiting, held, delivered, lost, dropped or given_up."""
        return {
            "id": self.id,
            "event": self.event,
            "interaction": self.interaction,
            "uri": self.uri,
            "mode": "dynamic" if self.webhook is None else "static",
            "state": self.state,
            "attempts": [attempt.view() for attempt in self.attempts],
            "body": json.loads(self.body),
        }


@dataclass(frozen=True)
class Tamper:
    """What is wrong with an attempt, on purpose.

    Args:
        body: Sent (and signed) instead of the event.
        message_id: Sent instead of the delivery's id.
        bad_signature: Well formed, but over other bytes.
        timestamp_offset: Seconds added to the timestamp; it is signed with it.
        headers: Added to the usual ones, or taken away where None.
    """

    body: bytes | None = None
    message_id: str | None = None
    bad_signature: bool = False
    timestamp_offset: float = 0.0
    headers: Mapping[str, str | None] = field(default_factory=dict)


class Courier:
    """Makes deliveries from events and brings them out."""

    def __init__(
        self, settings: EmulatorSettings, clock: Clock, ids: Ids, faults: Faults, webhooks: Webhooks
    ) -> None:
        self._settings, self._clock, self._ids = settings, clock, ids
        self._faults, self._webhooks = faults, webhooks
        self._http: httpx.AsyncClient | None = None
        self.deliveries: list[Delivery] = []
        self.rotate_keys()

    def rotate_keys(self) -> None:
        """Publish and sign with a fresh set of keys."""
        self.keys = KeySet([self._ids.random.randbytes(32) for _ in range(KEYS)])

    def emit(self, interaction: Interaction, event: str | None = None) -> None:
        """Send the event of the interaction's status (or `event`; `""` is none) to all who are to hear it."""
        event = EVENTS.get(interaction.status) if event is None else event
        if event:
            for delivery in self.prepare(interaction, event):
                self._dispatch(delivery)

    def prepare(self, interaction: Interaction, event: str) -> list[Delivery]:
        """Deliveries of an event, not yet on their way. A request's addresses replace the registered ones."""
        body = self._event(interaction, event)
        targets: Sequence[tuple[str, Webhook | None]] = [(uri, None) for uri in interaction.request.uris]
        if not targets:
            targets = [(h.uri, h) for h in self._webhooks.subscribers(interaction.project, event)]
        return [self._new(event, uri, body, hook, interaction.id) for uri, hook in targets]

    def ping(self, hook: Webhook) -> None:
        """Send a ping; its payload is not documented."""
        body = {
            "type": "ping",
            "version": "v1",
            "timestamp": instant(self._clock.now()),
            "data": {"id": hook.id},
        }
        self._dispatch(self._new("ping", hook.uri, encode(body), hook, None))

    def to_address(self, uri: str, event: str, body: bytes) -> Delivery:
        """A delivery to any address: as the webhook registered for it, or else dynamic."""
        return self._new(event, uri, body, self._webhooks.at(uri), None)

    async def send(self, delivery: Delivery, tamper: Tamper | None = None) -> Attempt:
        """Make one attempt now and note it; what follows from it is up to the caller."""
        tamper = tamper or Tamper()
        body = delivery.body if tamper.body is None else tamper.body
        try:
            answer = await self._client().post(
                delivery.uri, content=body, headers=self._headers(delivery, body, tamper)
            )
            attempt = Attempt(self._clock.now(), status=answer.status_code)
        except httpx.HTTPError as error:
            attempt = Attempt(self._clock.now(), error=f"{type(error).__name__}: {error}")
        delivery.attempts.append(attempt)
        return attempt

    async def bring(self, delivery: Delivery) -> None:
        """Make the next attempt of a delivery, and arrange for another one when it fails."""
        hook = delivery.webhook
        if hook is not None and (hook.gone or hook.state != "enabled"):
            delivery.state = "dropped"
            return
        fault, delivery.fault = delivery.fault, None
        if (await self.send(delivery, _tamper(fault))).ok:
            delivery.state = "delivered"
            if hook is not None:
                hook.failing_since = None
        elif delivery.state != "delivered":  # a failed duplicate is not tried again
            self._retry(delivery)

    async def flush(self, interaction: str) -> None:
        """Bring out at once what waits for this interaction."""
        for delivery in [d for d in self.deliveries if d.interaction == interaction and d.state == "waiting"]:
            if delivery.job is not None:
                delivery.job.cancel()
            await self.bring(delivery)

    async def release(self, *, newest_first: bool = False) -> int:
        """Bring out the held deliveries, one after the other; returns how many there were."""
        held = [d for d in self.deliveries if d.state == "held"]
        for delivery in reversed(held) if newest_first else held:
            delivery.state = "waiting"
            await self.bring(delivery)
        return len(held)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            # No proxy: receivers are local. No redirects: a webhook address must answer itself.
            timeout = self._settings.delivery_timeout_seconds
            self._http = httpx.AsyncClient(timeout=timeout, trust_env=False, follow_redirects=False)
        return self._http

    def _new(
        self, event: str, uri: str, body: bytes, hook: Webhook | None, interaction: str | None
    ) -> Delivery:
        made = Delivery(self._ids.message(), event, uri, body, hook, interaction)
        self.deliveries.append(made)
        return made

    def _event(self, interaction: Interaction, event: str) -> bytes:
        data: Json = {"id": interaction.id}
        if event == "interaction.failed":
            error = interaction.errors[0] if interaction.errors else {}
            data |= {"error_code": error.get("code", ""), "error_message": error.get("message", "")}
        body: Json = {"type": event, "version": "v1", "timestamp": instant(interaction.updated), "data": data}
        place = {"data": data, "top": body, "none": {}}[self._settings.metadata]
        if interaction.request.metadata:
            place["user_metadata"] = interaction.request.metadata
        return encode(body)

    def _dispatch(self, delivery: Delivery) -> None:
        fault = self._faults.take("deliver", delivery.interaction)
        kind = fault.kind if fault else ""
        if kind == "lose":
            delivery.state = "lost"
        elif kind == "hold":
            delivery.state = "held"
        else:
            seconds = (fault.seconds or 0.0) if fault and kind == "delay" else 0.0
            delivery.fault = fault
            for _ in range(1 + (fault.copies if fault and kind == "duplicate" else 0)):
                self._later(delivery, seconds)

    def _later(self, delivery: Delivery, seconds: float) -> None:
        async def bring() -> None:
            await self.bring(delivery)

        delivery.job = self._clock.schedule(seconds, bring)

    def _retry(self, delivery: Delivery) -> None:
        settings, now = self._settings, self._clock.now()
        first = delivery.attempts[0].at
        # A float's powers end near 2**1023; the cap is reached long before.
        doublings = min(len(delivery.attempts) - 1, 64)
        wait = min(settings.retry_base_seconds * 2.0**doublings, settings.retry_cap_seconds)
        due = now + timedelta(seconds=wait)
        self._count_failure(delivery.webhook, since=first, until=due)
        if due - first > timedelta(seconds=settings.retry_window_seconds):
            delivery.state = "given_up"
        else:
            self._later(delivery, wait)

    def _count_failure(self, hook: Webhook | None, *, since: datetime, until: datetime) -> None:
        if hook is None:
            return
        hook.failing_since = hook.failing_since or since
        if until - hook.failing_since >= timedelta(seconds=self._settings.disable_after_seconds):
            hook.state = "disabled_due_to_failed_deliveries"

    def _headers(self, delivery: Delivery, body: bytes, tamper: Tamper) -> dict[str, str]:
        now = self._clock.now()
        timestamp = int(now.timestamp() + tamper.timestamp_offset)
        message_id = tamper.message_id or delivery.id
        signed = b"other" + body if tamper.bad_signature else body
        if delivery.webhook is None:
            signature = self.keys.sign(message_id, timestamp, signed)
        else:
            secrets = delivery.webhook.current(now)
            signature = " ".join(sign_static(secret, message_id, timestamp, signed) for secret in secrets)
        usual = {
            "content-type": "application/json",
            "user-agent": "gemini-emulator",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature,
        }
        merged: dict[str, str | None] = {**usual, **{k.lower(): v for k, v in tamper.headers.items()}}
        return {name: value for name, value in merged.items() if value is not None}


def encode(body: Any) -> bytes:
    """An event's bytes: compact JSON, the very bytes that are signed and sent."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _tamper(fault: Fault | None) -> Tamper | None:
    if fault is not None and fault.kind == "bad_signature":
        return Tamper(bad_signature=True)
    if fault is not None and fault.kind == "old_timestamp":
        return Tamper(timestamp_offset=-(OLD_SECONDS if fault.seconds is None else fault.seconds))
    return None
