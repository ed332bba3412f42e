"""The world around our engine, in memory: Gemini, Slack, and an onlooker who sees what is committed."""

import asyncio
import itertools
import time
from dataclasses import dataclass
from typing import Any

from bench.loop.ours_games import Setting
from orchestrator.domain.cards import Card
from orchestrator.domain.consent import approval_key
from orchestrator.domain.effects import EffectKind
from orchestrator.domain.exchange import CreateRequest, Snapshot
from orchestrator.domain.model import CallStatus, call_key
from orchestrator.engine.perform import Performer
from orchestrator.engine.tickets import Ticket


@dataclass(frozen=True, slots=True)
class Asked:
    """A question people were asked, as `Intake.decide` takes it; no digest where none was shown."""

    approval: str
    digest: str | None = None


class Outside:
    """What a run waits for, told once the wait is on disk."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, EffectKind], tuple[str, Any]] = {}
        self._told: dict[tuple[str, str], asyncio.Future[Any]] = {}

    def soon(self, run_id: str, kind: EffectKind, what: str, value: Any) -> None:
        """Tell it when the effect under way, of that kind, is committed."""
        self._pending[run_id, kind] = what, value

    def committed(self, run_id: str, kind: EffectKind) -> None:
        """What came of the effect is durable."""
        if (waiting := self._pending.pop((run_id, kind), None)) is not None:
            what, value = waiting
            self._future(run_id, what).set_result(value)

    async def wait(self, run_id: str, what: str) -> Any:
        """Until the run has come so far; the value told with it."""
        value = await self._future(run_id, what)
        del self._told[run_id, what]
        return value

    def _future(self, run_id: str, what: str) -> asyncio.Future[Any]:
        if (run_id, what) not in self._told:
            self._told[run_id, what] = asyncio.get_running_loop().create_future()
        return self._told[run_id, what]


class Gemini:
    """Implements `GeminiPort`: the first interaction asks for the tool, the second completes.

    `results` is what it was told, by run.
    """

    def __init__(self, outside: Outside, setting: Setting) -> None:
        self._outside = outside
        self._setting = setting
        self._made: dict[str, CreateRequest] = {}
        self.fetched_at: dict[str, float] = {}
        self.results: dict[str, Any] = {}

    async def create(self, request: CreateRequest) -> Snapshot:
        mark = request.correlation
        made = f"v1_{mark.run}_{mark.turn}"
        if made in self._made:
            raise RuntimeError(f"{made} was sent twice")
        self._made[made] = request
        if request.previous_id is None:
            self._outside.soon(mark.run, EffectKind.CREATE_INTERACTION, "event", made)
            return Snapshot(made, "in_progress", correlation=mark)
        self.results[mark.run] = [r if isinstance(r, str) else r.result for r in request.input]
        self._outside.soon(mark.run, EffectKind.CREATE_INTERACTION, "end", made)
        return self._snapshot(made, "completed", output="Done.")

    async def fetch(self, interaction_id: str) -> Snapshot:
        if interaction_id not in self.fetched_at:
            self.fetched_at[interaction_id] = time.perf_counter()
            self._asked(interaction_id)
        return self._snapshot(interaction_id, "requires_action", calls=(self._setting.call,))

    def _asked(self, interaction_id: str) -> None:
        """Where nobody is shown the question, it is there to be answered as soon as it is stored."""
        if self._setting.terms.channel:
            return
        run_id = self._made[interaction_id].correlation.run
        asked = Asked(approval_key(call_key(run_id, interaction_id, self._setting.call.id), 1))
        self._outside.soon(run_id, EffectKind.FETCH_INTERACTION, "person", asked)

    async def cancel(self, interaction_id: str) -> Snapshot | None:
        raise RuntimeError("nothing is cancelled here")

    def _snapshot(self, interaction_id: str, status: str, **more: Any) -> Snapshot:
        request = self._made[interaction_id]
        return Snapshot(
            interaction_id,
            status,
            usage={"total": 10},
            previous_id=request.previous_id,
            correlation=request.correlation,
            **more,
        )


class Slack:
    """What a game asks of a `SlackPort`."""

    def __init__(self, outside: Outside, channel: str) -> None:
        self._outside = outside
        self._channel = channel
        self._numbers = itertools.count(1)
        self._drawn: set[str] = set()

    async def post(self, card: Card, *, seen_before: bool) -> tuple[str, str]:
        asked = Asked(card.approval.id, card.approval.digest)
        self._outside.soon(card.run_id, EffectKind.REQUEST_APPROVAL, "person", asked)
        return self._channel, f"17.{next(self._numbers):06}"

    async def update(self, card: Card) -> None:
        """The last time the tool is done."""
        if card.call.status is CallStatus.SETTLED and card.approval.id not in self._drawn:
            self._drawn.add(card.approval.id)
            self._outside.soon(card.run_id, EffectKind.UPDATE_APPROVAL, "redrawn", None)

    async def remind(self, card: Card, *, what: str, last: bool, seen_before: bool) -> None:
        """Nobody waits that long here."""

    async def whisper(self, *, channel: str, user: str, text: str, response_url: str = "") -> None:
        raise RuntimeError("nobody is whispered to here")


class TellingPerformer(Performer):
    """Says when an effect is committed, as an onlooker outside could see it."""

    outside: Outside

    async def perform(self, ticket: Ticket) -> None:
        await super().perform(ticket)
        self.outside.committed(ticket.effect.run_id, ticket.effect.kind)
