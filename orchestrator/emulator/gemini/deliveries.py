"""Webhook events on their way: to whom, signed how, tried when.

A delivery keeps its id over all attempts, each attempt has its own timestamp. Source: Gemini API, Webhooks,
"Delivery"; Standard Webhooks for headers. Times between attempts are unpublished: ours double.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import httpx

from orchestrator.emulator.gemini.clock import Cancellable, Clock
from orchestrator.emulator.gemini.events import OF_STATUS, Event, encode, of_interaction
from orchestrator.emulator.gemini.faults import BURST_COPIES, Fault, Faults
from orchestrator.emulator.gemini.ids import Ids
from orchestrator.emulator.gemini.interactions import Interaction, instant
from orchestrator.emulator.gemini.sealing import Seal, Tamper, altered, tamper_of
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.gemini.webhooks import Webhook, Webhooks
from orchestrator.emulator.serving import authorities

Json = dict[str, Any]
REORDER_SECONDS: Final = 5.0  # how long a delivery waits for one to let past


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
    """One event for one address; `due` is its next attempt after a failed one.

    `webhook` is None for an address named in the request (dynamic).
    """

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
    due: datetime | None = None

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


class Courier:
    """Makes deliveries from events and brings them out."""

    def __init__(
        self, settings: EmulatorSettings, clock: Clock, ids: Ids, faults: Faults, webhooks: Webhooks
    ) -> None:
        self._settings, self._clock, self._ids = settings, clock, ids
        self._faults, self._webhooks = faults, webhooks
        self._http: httpx.AsyncClient | None = None
        self.deliveries: list[Delivery] = []
        self.seal = Seal(settings, clock, ids)
        self._overtaken: list[Delivery] = []

    def emit(self, interaction: Interaction, event: str | None = None) -> None:
        """Send the event of the interaction's status (or `event`; `""` is none) to all who are to hear it."""
        event = OF_STATUS.get(interaction.status) if event is None else event
        if event:
            self.announce(of_interaction(interaction, event))

    def announce(self, event: Event) -> None:
        """Send an event to all who are to hear it."""
        for uri, hook in self._targets(event):
            fault = self._faults.take("deliver", event.subject, fits=lambda f: f.event in (None, event.type))
            kind = fault.kind if fault else ""
            if kind == "unknown_type":
                self._depart(self._made(event.mistyped(), uri, hook), None)
            elif kind == "unknown_id":
                self._depart(
                    self._made(event.about(self._ids.interaction(self._ids.part())), uri, hook), None
                )
            self._depart(self._made(event, uri, hook), fault)

    def prepare(self, interaction: Interaction, event: str) -> list[Delivery]:
        """Deliveries of an event, not yet on their way. A request's addresses replace the registered ones."""
        told = of_interaction(interaction, event)
        return [self._made(told, uri, hook) for uri, hook in self._targets(told)]

    def ping(self, hook: Webhook) -> None:
        """Send a ping; its payload is not documented."""
        body = {
            "type": "ping",
            "version": "v1",
            "timestamp": instant(self._clock.now()),
            "data": {"id": hook.id},
        }
        made = self._new("ping", hook.uri, encode(body), hook, None)
        self._depart(made, self._faults.take("deliver", hook.id))

    def to_address(self, uri: str, event: str, body: bytes) -> Delivery:
        """A delivery to any address: as the webhook registered for it, or else dynamic."""
        return self._new(event, uri, body, self._webhooks.at(uri), None)

    async def send(self, delivery: Delivery, tamper: Tamper | None = None) -> Attempt:
        """Make one attempt now and note it; what follows from it is up to the caller."""
        tamper = tamper or Tamper()
        body = delivery.body if tamper.body is None else tamper.body
        hook = delivery.webhook
        secrets = None if hook is None else hook.current(self._clock.now())
        headers = self.seal.headers(delivery.id, secrets, body, tamper)
        try:
            sent = altered(body) if tamper.altered else body
            answer = await self._client().post(delivery.uri, content=sent, headers=headers)
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
        fault, delivery.fault, delivery.due = delivery.fault, None, None
        if fault is not None and fault.kind == "rotate_signing_keys":
            self.seal.rotate()
        if (await self.send(delivery, tamper_of(fault))).ok:
            delivery.state = "delivered"
            if hook is not None:
                hook.succeeded()
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
            self._http = httpx.AsyncClient(
                timeout=timeout, trust_env=False, follow_redirects=False, verify=authorities()
            )
        return self._http

    def _new(
        self, event: str, uri: str, body: bytes, hook: Webhook | None, interaction: str | None
    ) -> Delivery:
        made = Delivery(self._ids.message(), event, uri, body, hook, interaction)
        self.deliveries.append(made)
        return made

    def _made(self, event: Event, uri: str, hook: Webhook | None) -> Delivery:
        return self._new(event.type, uri, event.body(self._settings.metadata), hook, event.subject)

    def _targets(self, event: Event) -> Sequence[tuple[str, Webhook | None]]:
        if event.uris:
            return [(uri, None) for uri in event.uris]
        return [(hook.uri, hook) for hook in self._webhooks.subscribers(event.project, event.type)]

    def _depart(self, delivery: Delivery, fault: Fault | None) -> None:
        """Set a delivery on its way, or wherever its fault sends it."""
        delivery.fault = fault
        match fault.kind if fault is not None else "":
            case "lose":
                delivery.state = "lost"
            case "hold":
                delivery.state = "held"
            case "reorder" if fault is not None:
                self._overtaken.append(delivery)
                self._later(delivery, fault.waits(REORDER_SECONDS))
            case "delay" if fault is not None:
                self._later(delivery, fault.waits(0.0))
            case "burst" if fault is not None:
                self._at_once(delivery, 1 + fault.further(BURST_COPIES))
            case _:
                for one in self._copies(delivery, fault):
                    self._later(one, 0.0)
                self._let_past()

    def _copies(self, delivery: Delivery, fault: Fault | None) -> list[Delivery]:
        """The delivery itself, and its doubles."""
        if fault is None or not fault.kind.startswith("duplicate"):
            return [delivery]
        doubles = [delivery] * fault.further()
        if fault.kind == "duplicate_new_id":
            doubles = [replace(delivery, id=self._ids.message(), attempts=[], fault=None) for _ in doubles]
            self.deliveries += doubles
        return [delivery, *doubles]

    def _let_past(self) -> None:
        """Those that waited for a later delivery to overtake them go now, right behind it."""
        late, self._overtaken = self._overtaken, []
        for delivery in late:
            if delivery.state == "waiting" and not delivery.attempts:
                if delivery.job is not None:
                    delivery.job.cancel()
                self._later(delivery, 0.0)

    def _at_once(self, delivery: Delivery, count: int) -> None:
        async def bring() -> None:
            await asyncio.gather(*(self.bring(delivery) for _ in range(count)))

        delivery.job = self._clock.schedule(0.0, bring)

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
        if delivery.due is not None:  # one of its doubles has seen to it
            return
        delivery.due = due
        if due - first > timedelta(seconds=settings.retry_window_seconds):
            delivery.state = "given_up"
        else:
            self._later(delivery, wait)

    def _count_failure(self, hook: Webhook | None, *, since: datetime, until: datetime) -> None:
        if hook is None:
            return
        hook.failures += 1
        hook.failing_since = hook.failing_since or since
        limit = self._settings.disable_after_failures
        long = until - hook.failing_since >= timedelta(seconds=self._settings.disable_after_seconds)
        if long or (limit is not None and hook.failures >= limit):
            hook.state = "disabled_due_to_failed_deliveries"
