"""Watching over our webhook at Gemini: is it there, switched on, for the right events?

Deliveries that stop coming make no noise: the service goes on by reading its interactions now and
then, only slower. So somebody looks, at the start and every hour, and says what there is to say.
Whatever goes wrong with looking is said too, and stops nothing.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from orchestrator.domain.registration import ENABLED, Judgement, Registration, RegistrationState, judge
from orchestrator.errors import OrchestratorError
from orchestrator.failure_streak import FailureStreak

RETRY_SECONDS: Final = 300.0
"""When nothing could be learned: sooner than in an hour, and no burden to anybody."""

NOWHERE: Final = "public_url is not set, so nobody can say which webhook is ours: nothing is checked"

log = structlog.get_logger(__name__)


class RegistrationsPort(Protocol):
    """Gemini's webhook resource, as far as it is looked at and mended."""

    async def list(self) -> tuple[Registration, ...]:
        """Every webhook of the project."""
        ...

    async def change(
        self, webhook_id: str, *, state: str | None = None, events: Sequence[str] | None = None
    ) -> Registration:
        """Set what is given, leave the rest."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be registered. `heal` lets the care mend what Gemini switched off, and wrong events."""

    address: str
    events: Collection[str]
    heal: bool = False


class WebhookCare:
    """Looks after our webhook; `verdict` is what was seen last.

    Args:
        wanted: None where no address of ours is known, so that nothing can be compared.
        every_seconds: Between looks, give or take a tenth; 0 means never.
        tell: Told after each look what was seen, for those who do not look themselves.
    """

    def __init__(
        self,
        registrations: RegistrationsPort,
        wanted: Wanted | None,
        *,
        every_seconds: float,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        tell: Callable[[Judgement], Awaitable[None]] | None = None,
    ) -> None:
        self._registrations, self._wanted, self._every = registrations, wanted, every_seconds
        self._sleep, self._chance, self._tell = sleep, chance, tell
        self.verdict = Judgement(
            RegistrationState.UNASKED, NOWHERE if wanted is None else "not looked at yet"
        )
        self._said: Judgement | None = None
        self._soon = False
        self._keeping = FailureStreak("webhook_sighting")

    async def run(self) -> None:
        """Look now and from time to time, until cancelled; where there is nothing to compare, say so."""
        if self._wanted is None:
            log.info("webhook_not_checked", why=NOWHERE)
        try:
            while self._wanted is not None and self._every > 0:
                await self._pass_on(await self.look())
                pause = min(self._every, RETRY_SECONDS) if self._soon else self._every
                await self._sleep(pause * (0.9 + 0.2 * self._chance()))
        finally:
            await self._registrations.aclose()

    async def look(self) -> Judgement:
        """See how it stands, mend it if told to, and say so. Raises nothing but cancellation."""
        self._soon = False
        try:
            self.verdict = await self._looked()
        except OrchestratorError as e:
            self._soon = True
            self.verdict = Judgement(RegistrationState.UNASKED, "Gemini could not be asked about the webhook")
            log.warning("webhook_not_checked", why=str(e))
        except Exception:
            self._soon = True
            self.verdict = Judgement(RegistrationState.UNASKED, "the webhook could not be checked")
            log.exception("webhook_not_checked")
        return self.verdict

    async def _pass_on(self, verdict: Judgement) -> None:
        """Whoever cannot be told sees for how long nobody has looked."""
        with self._keeping.attempt():
            if self._tell is not None:
                await self._tell(verdict)

    async def _looked(self) -> Judgement:
        if self._wanted is None:
            return self.verdict
        seen = await self._see(self._wanted)
        mended = await self._healed(seen, self._wanted) if self._wanted.heal else seen
        self._say(mended)
        return mended

    async def _healed(self, seen: Judgement, wanted: Wanted) -> Judgement:
        """As it stands then; where it could not be mended, what was seen is still so."""
        try:
            return await self._mend(seen, wanted)
        except OrchestratorError as e:
            self._soon = True
            log.warning("webhook_not_healed", why=str(e))
            return seen

    async def _see(self, wanted: Wanted) -> Judgement:
        return judge(await self._registrations.list(), address=wanted.address, events=wanted.events)

    async def _mend(self, seen: Judgement, wanted: Wanted) -> Judgement:
        """What Gemini switched off and what hears of the wrong things; never what a person switched off."""
        if seen.registration is None or seen.standing not in (
            RegistrationState.FAILING,
            RegistrationState.OTHER_EVENTS,
        ):
            return seen
        # A PATCH applies what its body has, so both are said at once and no more than is amiss.
        same_events = set(seen.registration.events) == set(wanted.events)
        await self._registrations.change(
            seen.registration.id,
            state=ENABLED if seen.standing is RegistrationState.FAILING else None,
            events=None if same_events else [*wanted.events],
        )
        log.warning("webhook_healed", webhook=seen.registration.id, was=seen.standing)
        return await self._see(wanted)

    def _say(self, verdict: Judgement) -> None:
        """Once when it is well, and as often as it is looked at while it is not."""
        webhook = verdict.registration.id if verdict.registration else None
        if not verdict.well:
            log.warning("webhook_amiss", standing=verdict.standing, why=verdict.text, webhook=webhook)
        elif self._said is None or not self._said.well:
            log.info("webhook_well", webhook=webhook)
        self._said = verdict
