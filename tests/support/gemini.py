"""A Gemini in memory: interactions that follow a script, and the books on who sent what.

It keeps its own conscience: `violations` lists what no caller may do to it (an attempt sent twice,
results that do not name exactly the open calls, a link of the chain cancelled).
"""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.domain.exchange import Correlation, CreateRequest, FunctionCall, FunctionResult, Snapshot
from orchestrator.domain.plain import JsonObject
from orchestrator.errors import RejectedError, UnavailableError, UncertainError, UnreadAnswerError

ENDS = frozenset({"completed", "failed", "cancelled", "incomplete", "budget_exceeded"})
SAYING = frozenset({"completed", "requires_continuation"})
SIGNALLED = {
    "requires_action": "interaction.requires_action",
    "completed": "interaction.completed",
    "failed": "interaction.failed",
}
"""The other statuses have no event of their own (gemini-api: webhooks)."""


@dataclass(frozen=True)
class Plan:
    """What one interaction of a story comes to: calls of (tool, arguments), or an end."""

    calls: tuple[tuple[str, JsonObject], ...] = ()
    status: str = ""
    output: str = "done"
    tokens: int = 10

    @property
    def outcome(self) -> str:
        return self.status or ("requires_action" if self.calls else "completed")


@dataclass
class Interaction:
    id: str
    request: CreateRequest
    plan: Plan
    depth: int
    status: str = "in_progress"

    @property
    def mark(self) -> Correlation:
        return self.request.correlation

    @property
    def calls(self) -> tuple[FunctionCall, ...]:
        return tuple(FunctionCall(f"fc{n}", name, a) for n, (name, a) in enumerate(self.plan.calls))


@dataclass(frozen=True)
class Webhook:
    id: str
    kind: str
    interaction_id: str


@dataclass
class FakeGemini:
    """Implements `GeminiPort`.

    Args:
        stories: By a run's input: what its interactions come to, one after the other. After the
            last one the run completes.
        weather: What befalls the next request of that operation (`create`, `fetch`, `cancel`):
            `fine`, `busy`, `refused`, `too_large`, `garbled` or `lost` (before acceptance), `lost_after`
            (it was accepted).
    """

    stories: Mapping[str, Sequence[Plan]] = field(default_factory=dict)
    weather: Callable[[str], str] | None = None
    pace: bool = True  # interactions move on by themselves, one step at each `move`
    interactions: dict[str, Interaction] = field(default_factory=dict)
    outgoing: list[Webhook] = field(default_factory=list)
    faults: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    violations: list[str] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    creates: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    unseen: Counter[str] = field(default_factory=Counter)  # GETs that still answer 404
    barred: set[str] = field(default_factory=set)  # runs that may send nothing any more
    gate: asyncio.Event | None = None  # the next accepted create is answered when it opens
    at_gate: asyncio.Event = field(default_factory=asyncio.Event)

    # --- the port ---------------------------------------------------------------------

    async def create(self, request: CreateRequest) -> Snapshot:
        fault = self._fault("create")
        if fault in ("busy", "lost", "refused", "garbled"):
            raise _error(fault)
        mark = request.correlation
        if mark.run in self.barred:
            self.violations.append(f"{mark} was sent after its run was cancelled")
        self.creates[mark.run, mark.turn, mark.attempt] += 1
        if self.creates[mark.run, mark.turn, mark.attempt] > 1:
            self.violations.append(f"{mark} was sent twice")
        interaction = self._open(request)
        answer = self.snapshot(interaction)
        gate, self.gate = self.gate, None
        if gate is not None:
            self.at_gate.set()
            await gate.wait()
        if fault == "lost_after":
            raise UncertainError("the connection broke after the request was sent")
        return answer

    async def fetch(self, interaction_id: str) -> Snapshot:
        if (fault := self._fault("fetch")) != "fine":
            raise _error("lost" if fault == "lost_after" else fault)
        found = self.interactions.get(interaction_id)
        if found is None or self.unseen[interaction_id] > 0:
            self.unseen[interaction_id] -= 1
            raise RejectedError("no such interaction", code="not_found")
        return self.snapshot(found)

    async def cancel(self, interaction_id: str) -> Snapshot | None:
        fault = self._fault("cancel")
        if fault not in ("fine", "lost_after"):
            raise _error(fault)
        found = self.interactions.get(interaction_id)
        if found is None:
            return None
        if any(i.request.previous_id == interaction_id for i in self.interactions.values()):
            self.violations.append(f"{interaction_id} was cancelled, a link that was gone on from")
        if found.status not in ENDS:
            found.status = "cancelled"
        if fault == "lost_after":
            raise UncertainError("the answer got lost")
        return self.snapshot(found)

    # --- the world behind it ----------------------------------------------------------

    def move(self) -> int:
        """Every interaction at work comes to what its plan says; returns how many did."""
        moved = [i for i in self.interactions.values() if i.status == "in_progress"]
        for interaction in moved:
            self.become(interaction.id, interaction.plan.outcome)
        return len(moved)

    def become(self, interaction_id: str, status: str) -> None:
        """The interaction changes, and a webhook tells of it where there is one."""
        self.interactions[interaction_id].status = status
        if status in SIGNALLED:
            number = self.requests["webhook"]
            self.requests["webhook"] += 1
            self.outgoing.append(Webhook(f"wh_{number}_{status}", SIGNALLED[status], interaction_id))

    def take_webhooks(self) -> list[Webhook]:
        taken, self.outgoing = self.outgoing, []
        return taken

    def snapshot(self, interaction: Interaction) -> Snapshot:
        acting = interaction.status == "requires_action"
        done = interaction.status in ENDS or acting or interaction.status == "requires_continuation"
        return Snapshot(
            interaction.id,
            interaction.status,
            calls=interaction.calls if acting else (),
            output=interaction.plan.output if interaction.status in SAYING else "",
            usage={"total_tokens": interaction.plan.tokens} if done else {},
            previous_id=interaction.request.previous_id,
            correlation=interaction.mark,
            continuation=f"tok:{interaction.id}" if interaction.status == "requires_continuation" else None,
        )

    def of_turn(self, run_id: str, turn: int) -> list[Interaction]:
        return [i for i in self.interactions.values() if (i.mark.run, i.mark.turn) == (run_id, turn)]

    def live_beside(self) -> list[str]:
        """Turns that have more than one interaction at work or waiting: there may be none."""
        open_: Counter[tuple[str, int]] = Counter(
            (i.mark.run, i.mark.turn)
            for i in self.interactions.values()
            if i.status not in ENDS and not self._gone_on_from(i.id)
        )
        return [f"run {run}, turn {turn}: {n} live" for (run, turn), n in open_.items() if n > 1]

    def _gone_on_from(self, interaction_id: str) -> bool:
        return any(i.request.previous_id == interaction_id for i in self.interactions.values())

    def _fault(self, operation: str) -> str:
        self.requests[operation] += 1
        if self.faults[operation]:
            return self.faults[operation].popleft()
        return self.weather(operation) if self.weather else "fine"

    def _open(self, request: CreateRequest) -> Interaction:
        depth, story = 0, "" if isinstance(request.input, tuple) else request.input
        if request.previous_id is not None:
            link = self.interactions[request.previous_id]
            depth, story = link.depth + 1, self._story(link)
            self._hold_to(link, request)
        plans = self.stories.get(story, ())
        plan = plans[depth] if depth < len(plans) else Plan()
        mark = request.correlation
        name = f"i_{mark.run[-6:]}_{mark.turn}_{mark.attempt}_{len(self.interactions)}"
        self.interactions[name] = Interaction(name, request, plan, depth)
        return self.interactions[name]

    def _story(self, link: Interaction) -> str:
        while link.request.previous_id is not None:
            link = self.interactions[link.request.previous_id]
        assert isinstance(link.request.input, str)
        return link.request.input

    def _hold_to(self, link: Interaction, request: CreateRequest) -> None:
        """Results name exactly the open calls, each once; anything else would fork or hang the model."""
        if request.continuation is not None:
            if (link.status, request.continuation) != ("requires_continuation", f"tok:{link.id}"):
                self.violations.append(f"{link.id} was taken up while {link.status}")
            return
        if link.request.planning and link.status == "completed":
            # A plan was made: what is said about it is words, and only the plan itself was planned.
            if not isinstance(request.input, str) or request.planning is None:
                self.violations.append(f"{link.id} showed a plan and was given {request.input!r}")
            return
        results = request.input if isinstance(request.input, tuple) else ()
        assert all(isinstance(r, FunctionResult) for r in results)
        given, wanted = sorted(r.call_id for r in results), sorted(c.id for c in link.calls)
        if given != wanted:
            self.violations.append(f"{link.id} wants results for {wanted} and was given {given}")
        if link.status != "requires_action":
            self.violations.append(f"{link.id} was gone on from while {link.status}")


def _error(fault: str) -> Exception:
    return {
        "busy": UnavailableError("busy", retry_after=1.0),
        "lost": UncertainError("the connection broke"),
        "garbled": UnreadAnswerError("the answer is not JSON"),
        "refused": RejectedError("it does not like this", code="invalid_request"),
        "too_large": RejectedError("the answer is too large", code="too_large"),
    }[fault]
