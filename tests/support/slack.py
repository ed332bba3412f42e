"""A Slack channel in memory."""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchestrator.domain.consent import Place
from orchestrator.domain.pictures import BatchCard, Card
from orchestrator.errors import RejectedError, UnavailableError, UncertainError


@dataclass
class FakeSlack:
    """Implements `SlackPort`. `weather` as in `FakeGemini`, for `post`, `update`, `copy` and `remind`."""

    weather: Callable[[str], str] | None = None
    faults: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    messages: dict[str, Card] = field(default_factory=dict)  # by ts, as they look now
    batches: dict[str, BatchCard] = field(default_factory=dict)  # by ts, as they look now
    posts: int = 0
    updates: int = 0
    direct: dict[str, tuple[str, str]] = field(default_factory=dict)  # approval, person by ts
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)  # who takes no direct messages
    notices: list[tuple[str, str, bool]] = field(default_factory=list)  # approval, what, last
    _said: list[tuple[str, str, bool, str]] = field(default_factory=list)  # the same, with where
    whispers: list[tuple[str, str]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    async def post(self, card: Card, *, seen_before: bool) -> tuple[str, str]:
        fault = self._fault("post")
        if fault in ("busy", "lost", "refused"):
            raise _error(fault)
        found = self.where(card.approval.id)
        if seen_before and found:
            return card.approval.terms.channel, found
        if found:
            self.violations.append(f"{card.approval.id} was posted twice")
        if card.thread and card.thread not in self.batches:
            self.violations.append(f"{card.approval.id} was posted under nothing")
        if not card.approval.open:
            self.violations.append(f"{card.approval.id} was posted while {card.approval.status}")
        self.posts += 1
        ts = f"17.{self.posts:04}"
        self.messages[ts] = card
        if fault == "lost_after":
            raise UncertainError("posted, but the answer got lost")
        return card.approval.terms.channel, ts

    async def update(self, card: Card) -> None:
        if (fault := self._fault("update")) not in ("fine", "lost_after"):
            raise _error(fault)
        self.updates += 1
        ts = card.approval.ts or self.where(card.approval.id)
        if ts:
            self.messages[ts] = card
        if fault == "lost_after":
            raise UnavailableError("redrawn, but the answer got lost")

    async def copy(self, card: Card, person: str, *, seen_before: bool) -> Place:
        fault = "refused" if person in self.unreachable else self._fault("copy")
        if fault in ("busy", "lost", "refused"):
            raise _error(fault)
        found = await self.find_copy(card, person)
        if seen_before and found:
            return found
        if found:
            self.violations.append(f"{card.approval.id} was copied twice for {person}")
        if not card.approval.open:
            self.violations.append(f"{card.approval.id} was copied while {card.approval.status}")
        ts = f"18.{len(self.direct) + 1:04}"
        self.direct[ts] = (card.approval.id, person)
        self.messages[ts] = card
        if fault == "lost_after":
            raise UncertainError("copied, but the answer got lost")
        return Place(f"D{person[1:]}", ts, person)

    async def find_copy(self, card: Card, person: str) -> Place | None:
        wanted = (card.approval.id, person)
        ts = next((ts for ts, copy in self.direct.items() if copy == wanted), None)
        return Place(f"D{person[1:]}", ts, person) if ts else None

    async def members(self, groups: Sequence[str]) -> dict[str, tuple[str, ...]]:
        return {group: self.groups.get(group, ()) for group in groups}

    def written_to(self) -> set[str]:
        """Who has something among their direct messages."""
        return {person for _, person in self.direct.values()}

    async def remind(self, card: Card, *, what: str, last: bool, seen_before: bool) -> None:
        if (fault := self._fault("remind")) in ("busy", "lost", "refused"):
            raise _error(fault)
        notice = (card.approval.id, what, last)
        here = (*notice, card.approval.ts)
        if not (seen_before and here in self._said):
            if here in self._said:
                self.violations.append(f"{notice} was said twice")
            self._said.append(here)
            if not card.approval.open:
                self.violations.append(f"reminded of {card.approval.id} while {card.approval.status}")
            self.notices.append(notice)
        if fault == "lost_after":
            raise UncertainError("said, but the answer got lost")

    async def post_batch(self, batch: BatchCard, *, seen_before: bool) -> Place:
        if (fault := self._fault("post_batch")) in ("busy", "lost", "refused"):
            raise _error(fault)
        found = next((ts for ts, b in self.batches.items() if (b.run_id, b.turn) == _key(batch)), None)
        if not (found and seen_before):
            if found:
                self.violations.append(f"the message over turn {batch.turn} was posted twice")
            found = f"16.{len(self.batches):04}"
            self.batches[found] = batch
        if fault == "lost_after":
            raise UncertainError("posted, but the answer got lost")
        return Place(batch.place.channel, found)

    async def update_batch(self, batch: BatchCard) -> None:
        if (fault := self._fault("update_batch")) not in ("fine", "lost_after"):
            raise _error(fault)
        found = next((ts for ts, b in self.batches.items() if (b.run_id, b.turn) == _key(batch)), None)
        if ts := batch.place.ts or found:
            self.batches[ts] = batch
        if fault == "lost_after":
            raise UnavailableError("redrawn, but the answer got lost")

    async def whisper(self, *, channel: str, user: str, text: str, response_url: str = "") -> None:
        self.whispers.append((user, text))

    def where(self, approval: str) -> str | None:
        """The ts of the message about that approval."""
        shown = (ts for ts, card in self.messages.items() if card.approval.id == approval)
        return next((ts for ts in shown if ts not in self.direct), None)

    def live_buttons(self) -> set[str]:
        """Approvals that look as if they could be decided."""
        return {c.approval.id for c in self.messages.values() if c.approval.open}

    def _fault(self, operation: str) -> str:
        if self.faults[operation]:
            return self.faults[operation].popleft()
        return self.weather(operation) if self.weather else "fine"


def _key(batch: BatchCard) -> tuple[str, int]:
    return batch.run_id, batch.turn


def _error(fault: str) -> Exception:
    return {
        "busy": UnavailableError("rate limited", retry_after=2.0),
        "lost": UncertainError("the connection broke"),
        "refused": RejectedError("not in that channel", code="channel_not_found"),
    }[fault]
