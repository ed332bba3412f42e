"""The stand-in as one object: what its HTTP doors call, and what a test in the same process calls."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.emulator.gemini.batches import Batch, Batches
from orchestrator.emulator.gemini.clock import RealClock
from orchestrator.emulator.gemini.deliveries import Attempt, Courier, Delivery
from orchestrator.emulator.gemini.errors import ApiError
from orchestrator.emulator.gemini.events import encode
from orchestrator.emulator.gemini.faults import Fault, Faults
from orchestrator.emulator.gemini.files import Files
from orchestrator.emulator.gemini.ids import Ids
from orchestrator.emulator.gemini.interactions import Interaction, Interactions
from orchestrator.emulator.gemini.jobs import Jobs
from orchestrator.emulator.gemini.scenarios import Scenarios, parse
from orchestrator.emulator.gemini.sealing import Tamper
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.gemini.spoil import function_calls
from orchestrator.emulator.gemini.story import Turn
from orchestrator.emulator.gemini.validation import check_create, check_uri
from orchestrator.emulator.gemini.videos import Operation
from orchestrator.emulator.gemini.webhooks import Webhooks

Json = dict[str, Any]


class Emulator:
    """A Gemini of one's own.

    Args:
        settings: How it behaves; the defaults are a plain, honest Gemini with a real clock.
    """

    def __init__(self, settings: EmulatorSettings | None = None) -> None:
        self.settings = settings or EmulatorSettings()
        self.clock = self.settings.clock or RealClock()
        self.faults = Faults(self.settings.fault_seed, self.clock.now, self.settings.faults)
        self.address = (self.settings.address or "http://127.0.0.1").rstrip("/")
        self._fill()

    def _fill(self) -> None:
        settings = self.settings
        self.requests: list[Json] = []
        self.ids = Ids(settings.seed)
        self.scenarios = Scenarios(settings.scenarios)
        self.webhooks = Webhooks(settings, self.clock, self.ids)
        self.courier = Courier(settings, self.clock, self.ids, self.faults, self.webhooks)
        self.jobs = Jobs(settings, self.clock, self.ids, self.courier, lambda: self.address)
        self.jobs.read_plans(settings.scenarios)
        self.interactions = Interactions(
            settings, self.clock, self.ids, self.scenarios, emit=self.courier.emit, film=self.jobs.film
        )

    @property
    def batches(self) -> Batches:
        """Every project's batches."""
        return self.jobs.batches

    @property
    def files(self) -> Files:
        """Every project's files."""
        return self.jobs.files

    def asked_at(self, address: str) -> None:
        """Note where we were asked: the address in URIs we give out, unless the settings have one."""
        if self.settings.address is None:
            self.address = address.rstrip("/")

    # What Gemini's own methods do.

    def project_of(self, key: str | None) -> str:
        """The project of an API key: the one the settings name, or one of the key's own.

        Raises:
            ApiError: 401 for no key or an unknown one.
        """
        accepted = self.settings.accepted_keys
        if not key or (accepted and key not in accepted):
            raise ApiError(401, "API key not valid.")
        return accepted[key] if isinstance(accepted, Mapping) and accepted else key

    async def create(self, project: str, body: Any, fault: Fault | None = None) -> Json:
        """Take a create request; a foreground one is answered when its turn has ended.

        Raises:
            ApiError: 400, 404, 501.
        """
        made = self.interactions.create(project, check_create(body, self.settings))
        if not made.request.background:
            await made.settled.wait()
            return made.view(timeline=False)
        answer = made.view(timeline=False)
        if fault is not None and fault.kind == "early":
            await self.interactions.hasten(made)
            await self.courier.flush(made.id)
        return answer

    def get(self, project: str, name: str, fault: Fault | None = None) -> Json:
        """The interaction as it is, or as it was before its last change.

        Raises:
            ApiError: 404.
        """
        found = self.interactions.get(project, name)
        if fault is not None and fault.kind == "stale" and found.past:
            return found.past[-1]
        return found.view()

    def cancel(self, project: str, name: str, fault: Fault | None = None) -> Json:
        """Stop an interaction, or only say so.

        Raises:
            ApiError: 400, 404.
        """
        if fault is not None and fault.kind == "ignored":
            return self.interactions.get(project, name).view()
        return self.interactions.cancel(project, name).view()

    def jwks(self, fault: Fault | None = None) -> Json:
        """The key set as it is published, or as a fault would have it."""
        match fault.kind if fault is not None else "":
            case "no_keys":
                return {"keys": []}
            case "foreign_keys":
                return self.courier.seal.foreign_jwks()
            case "rotate_keys":
                self.courier.seal.rotate()
        return self.courier.seal.jwks()

    def has_calls(self, name: str | None) -> bool:
        """Would a read of this interaction show function calls?"""
        found = next((i for i in self.interactions.all() if i.id == name), None)
        return found is not None and bool(function_calls({"steps": found.steps[len(found.request.steps) :]}))

    # What tests and demos do.

    def stats(self) -> Json:
        """What has happened so far.

        `counts` has the requests received per operation, `created` the interactions really taken, `forks` per
        interaction how many creates continued it beyond the first, `requests` all requests in order without
        their key, `deliveries` all deliveries in order with their attempts, `interactions` each one's state,
        `faults` those still queued, `struck` how often each one was used, `jobs` the long jobs one by one.
        """
        made = self.interactions.all()
        return {
            "now": self.clock.now().isoformat(),
            "counts": dict(Counter(request["operation"] for request in self.requests)),
            "created": len(made),
            "forks": self.interactions.forks,
            "requests": self.requests,
            "deliveries": [delivery.view() for delivery in self.courier.deliveries],
            "interactions": [_line(interaction) for interaction in made],
            "faults": self.faults.view(),
            "struck": dict(self.faults.used),
            "jobs": self.ledger()["jobs"],
        }

    def ledger(self) -> Json:
        """How often each long job was begun, read and fetched; as `ledger.ledger`."""
        return self.jobs.ledger(self.interactions.all(), self.requests)

    def add_scenarios(self, source: Path | str | Mapping[str, Any], *, replace: bool = False) -> list[str]:
        """Put scenarios before those there are, or in their place; returns their names.

        Plans for jobs that stand beside them go before those there are.

        Raises:
            ScenarioError: They cannot be played.
        """
        parse(source)  # before anything is changed
        self.jobs.read_plans(source)
        return self.scenarios.add(source, replace=replace)

    def add_jobs(self, plans: Sequence[Mapping[str, Any]], *, replace: bool = False) -> list[str]:
        """Say how jobs to come go, before what was said so far or in its place; returns the plans' names.

        Raises:
            ScenarioError: They cannot be followed.
        """
        return self.jobs.add_plans(plans, replace=replace)

    def inject(self, operation: str, kind: str, **options: Any) -> Fault:
        """Queue a fault; `faults.Fault` has the options.

        Raises:
            ValueError: Unknown operation, kind or option.
        """
        return self.faults.add(operation, kind, **options)

    async def advance(self, seconds: float) -> None:
        """Move the virtual clock on; when this returns, all that fell due has been done.

        Raises:
            RuntimeError: The clock is the real one.
        """
        await self.clock.advance(seconds)

    async def move(
        self,
        name: str,
        status: str,
        *,
        text: str | None = None,
        errors: tuple[Json, ...] = (),
        event: str | None = None,
    ) -> Interaction:
        """Bring an interaction to a status at once, whatever it was doing, with its webhooks.

        Args:
            name: The interaction's id.
            status: Any string.
            text: Model output added to it.
            errors: Of a failure.
            event: Sent instead of the status's own event; `""` for none.

        Raises:
            KeyError: No such interaction.
        """
        turn = Turn(status=status, text=text, errors=errors, event=event, thought=None)
        return self.interactions.force(name, turn)

    async def deliver(
        self,
        *,
        delivery: str | None = None,
        interaction: str | None = None,
        event: str | None = None,
        uri: str | None = None,
        body: Any = None,
        message_id: str | None = None,
        bad_signature: bool = False,
        foreign_signature: bool = False,
        other_scheme: bool = False,
        altered: bool = False,
        timestamp_offset: float = 0.0,
        headers: Mapping[str, str | None] | None = None,
        copies: int = 1,
    ) -> list[Attempt]:
        """Send deliveries now, past all schedules; nothing is tried again.

        With `event`, a new event of `interaction` to whoever hears it, true or not. With `uri`, `body` to
        that address. Otherwise a delivery made before once more: `delivery`, or the newest one (of
        `interaction`).

        Args:
            body: Sent and signed instead of the event: JSON, or a string or bytes as they are.
            message_id: Instead of the delivery's own; `"new"` makes a fresh one.
            bad_signature: Well formed, but over other bytes.
            foreign_signature: Over the right bytes, with somebody else's key.
            other_scheme: `v1a` where `v1` is due, and the other way round.
            altered: Changed after it was signed.
            timestamp_offset: Seconds added to the signed timestamp.
            headers: Added to the usual ones, or left out where None.
            copies: How many times.

        Returns:
            Every attempt, with the receiver's status or why there was none.

        Raises:
            KeyError: No such delivery or interaction.
            ApiError: `uri` is none that a webhook may have.
        """
        tamper = Tamper(
            body=_raw(body),
            message_id=self.ids.message() if message_id == "new" else message_id,
            bad_signature=bad_signature,
            foreign_signature=foreign_signature,
            other_scheme=other_scheme,
            altered=altered,
            timestamp_offset=timestamp_offset,
            headers=headers or {},
        )
        chosen = self._chosen(delivery, interaction, event, uri)
        return [await self.courier.send(one, tamper) for one in chosen for _ in range(copies)]

    async def release(self, *, newest_first: bool = False) -> int:
        """Send the held deliveries in order, or in reverse; returns how many there were."""
        return await self.courier.release(newest_first=newest_first)

    def rotate_keys(self) -> None:
        """Replace the published Ed25519 keys."""
        self.courier.seal.rotate()

    def end_batch(self, name: str, state: str, message: str = "The batch failed.") -> Batch:
        """Bring a batch to an end at once; as `Batches.end`.

        Raises:
            KeyError: No such batch.
            ValueError: No such end.
        """
        return self.batches.end(name.removeprefix("batches/"), state, message)

    def end_video(self, name: str, end: str | None = None) -> Operation:
        """Bring a video's operation to an end at once; as `Videos.end`.

        Args:
            name: The whole name, or its last part.

        Raises:
            KeyError: No such operation.
            ValueError: No such end.
        """
        return self.jobs.videos.end(name.rpartition("/")[2], end)

    async def reset(self) -> None:
        """Back to the beginning: nothing but the webhooks, scenarios and faults of the settings."""
        self.clock.clear()
        self.faults.reset()
        await self.courier.aclose()
        self._fill()

    async def aclose(self) -> None:
        """Stop everything that is still to happen."""
        await self.clock.aclose()
        await self.courier.aclose()

    def _chosen(
        self, delivery: str | None, interaction: str | None, event: str | None, uri: str | None
    ) -> list[Delivery]:
        if uri is not None:
            check_uri(uri, self.settings.plain_http_hosts, "uri")
            return [self.courier.to_address(uri, event or "custom", b"{}")]
        made = {i.id: i for i in self.interactions.all()}
        if event is not None:
            return self.courier.prepare(made[str(interaction)], event)
        known = [
            d
            for d in self.courier.deliveries
            if delivery in (None, d.id) and interaction in (None, d.interaction)
        ]
        if not known:
            raise KeyError(delivery or interaction or "no delivery yet")
        return known[-1:]


def _raw(body: Any) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else encode(body)


def _line(interaction: Interaction) -> Json:
    return {
        "id": interaction.id,
        "previous": interaction.request.previous,
        "status": interaction.status,
        "script": interaction.script.name,
        "turn": interaction.number,
        "children": interaction.children,
    }
