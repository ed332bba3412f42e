"""A Slack channel in memory."""

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.domain.model import Card
from orchestrator.errors import RejectedError, UnavailableError, UncertainError


@dataclass
class FakeSlack:
    """Implements `SlackPort`. `weather` as in `FakeGemini`, for `post` and `update`."""

    weather: Callable[[str], str] | None = None
    faults: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    messages: dict[str, Card] = field(default_factory=dict)  # by ts, as they look now
    posts: int = 0
    updates: int = 0
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

    async def whisper(self, *, channel: str, user: str, text: str, response_url: str = "") -> None:
        self.whispers.append((user, text))

    def where(self, approval: str) -> str | None:
        """The ts of the message about that approval."""
        return next((ts for ts, card in self.messages.items() if card.approval.id == approval), None)

    def live_buttons(self) -> set[str]:
        """Approvals that look as if they could be decided."""
        return {c.approval.id for c in self.messages.values() if c.approval.open}

    def _fault(self, operation: str) -> str:
        if self.faults[operation]:
            return self.faults[operation].popleft()
        return self.weather(operation) if self.weather else "fine"


def _error(fault: str) -> Exception:
    return {
        "busy": UnavailableError("rate limited", retry_after=2.0),
        "lost": UncertainError("the connection broke"),
        "refused": RejectedError("not in that channel", code="channel_not_found"),
    }[fault]
