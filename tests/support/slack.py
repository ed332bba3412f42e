"""A Slack channel in memory."""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchestrator.domain.cards import BatchCard, Card, DigestCard, Overview, Picture
from orchestrator.domain.consent import Place
from orchestrator.domain.inquiries import Telling
from orchestrator.domain.outcomes import OUTCOME
from orchestrator.errors import RejectedError, UnavailableError, UncertainError, UnfamiliarError

NOT_DONE = ("busy", "lost", "refused", "gone", "odd")
"""Faults of an order that came to nothing."""


@dataclass
class FakeSlack:
    """Implements `SlackPort`. `weather` as in `FakeGemini`, for `post`, `update`, `copy` and `remind`."""

    weather: Callable[[str], str] | None = None
    faults: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    messages: dict[str, Card] = field(default_factory=dict)  # by ts, as they look now
    batches: dict[str, BatchCard] = field(default_factory=dict)  # by ts, as they look now
    digests: dict[str, DigestCard] = field(default_factory=dict)  # the same
    posts: int = 0
    updates: int = 0
    direct: dict[str, tuple[str, str]] = field(default_factory=dict)  # approval, person by ts
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)  # who takes no direct messages
    asked_back: dict[str, tuple[Card, Telling]] = field(default_factory=dict)  # by ts, as they look now
    notices: list[tuple[str, str, bool]] = field(default_factory=list)  # approval, what, last
    told_with: list[tuple[str, str]] = field(default_factory=list)  # by whose notice others were told of
    _said: list[tuple[str, str, bool, str]] = field(default_factory=list)  # the same, with where
    whispers: list[tuple[str, str]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    sent: list[Picture] = field(default_factory=list)  # what Slack was given, whether or not it was shown
    shown: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)  # approval, titles
    _pictured: dict[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    async def send_picture(self, picture: Picture) -> str:
        if (fault := self._fault("send_picture")) != "fine":
            raise _error(fault)
        self.sent.append(picture)
        return f"F{len(self.sent):04}"

    async def show_pictures(self, card: Card, files: Sequence[tuple[str, str]], *, seen_before: bool) -> None:
        fault = self._fault("show_pictures")
        if fault == "forgotten":
            raise RejectedError("there are no such files", code="file_not_found")
        if fault in NOT_DONE:
            raise _error(fault)
        approval = card.approval.id
        if not (seen_before and self._pictured.get(approval) == tuple(files)):
            if approval in self._pictured:
                self.violations.append(f"pictures under {approval} were shown twice")
            self._pictured[approval] = tuple(files)
            self.shown.append((approval, tuple(title for _, title in files)))
        if fault == "lost_after":
            raise UncertainError("shown, but the answer got lost")

    async def post(self, card: Card, *, seen_before: bool) -> tuple[str, str]:
        fault = self._fault("post")
        if fault in NOT_DONE:
            raise _error(fault)
        found = self.where(card.approval.id)
        if seen_before and found:
            return card.approval.terms.channel, found
        if found:
            self.violations.append(f"{card.approval.id} was posted twice")
        if card.thread and card.thread not in {*self.batches, *self.digests}:
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
        if fault in NOT_DONE:
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

    async def remind(
        self, card: Card, *, what: str, last: bool, seen_before: bool, others: Sequence[Card] = ()
    ) -> None:
        if (fault := self._fault("remind")) in NOT_DONE:
            raise _error(fault)
        notice = (card.approval.id, what, last)
        here = (*notice, card.approval.ts)
        if not (seen_before and here in self._said):
            if here in self._said:
                self.violations.append(f"{notice} was said twice")
            self._said += [(one.approval.id, what, last, one.approval.ts) for one in (card, *others)]
            for one in (card, *others):
                if not one.approval.open and what != OUTCOME:
                    self.violations.append(f"reminded of {one.approval.id} while {one.approval.status}")
            self.notices.append(notice)
            self.told_with += [(card.approval.id, other.approval.id) for other in others]
        if fault == "lost_after":
            raise UncertainError("said, but the answer got lost")

    async def ask_back(self, card: Card, telling: Telling, *, seen_before: bool) -> Place:
        fault = "refused" if telling.person in self.unreachable else self._fault("ask_back")
        if fault in NOT_DONE:
            raise _error(fault)
        found = await self.find_asked_back(card, telling)
        if found is None or not seen_before:
            if found is not None:
                self.violations.append(f"{telling} was said twice")
            if not (telling.answer or card.approval.open):
                self.violations.append(f"asked about {card.approval.id} while {card.approval.status}")
            found = Place(card.approval.channel, f"19.{len(self.asked_back):04}", telling.person)
            self.asked_back[found.ts] = (card, telling)
        if fault == "lost_after":
            raise UncertainError("asked, but the answer got lost")
        return found

    async def find_asked_back(self, card: Card, telling: Telling) -> Place | None:
        wanted = (card.approval.id, telling)
        for ts, (shown, told) in self.asked_back.items():
            if (shown.approval.id, told) == wanted:
                return Place(shown.approval.channel, ts, telling.person)
        return None

    async def redraw_asked_back(self, card: Card, number: int, place: Place) -> None:
        if (fault := self._fault("redraw_asked_back")) not in ("fine", "lost_after"):
            raise _error(fault)
        self.asked_back[place.ts] = (card, self.asked_back[place.ts][1])

    def can_be_answered(self) -> list[str]:
        """Of messages that look so: what they ask, once for each."""
        shown = [(c.approval, c.approval.questions[t.number - 1], t) for c, t in self.asked_back.values()]
        return [q.text for a, q, t in shown if a.open and not q.answered and not t.answer]

    async def post_batch(self, batch: Overview, *, seen_before: bool) -> Place:
        if (fault := self._fault("post_batch")) in NOT_DONE:
            raise _error(fault)
        found = self._over(batch)
        if not (found and seen_before):
            if found:
                self.violations.append(f"the message over {_key(batch)} was posted twice")
            found = f"16.{len(self.batches) + len(self.digests):04}"
            self._keep(found, batch)
        if fault == "lost_after":
            raise UncertainError("posted, but the answer got lost")
        return Place(batch.place.channel, found)

    async def update_batch(self, batch: Overview) -> None:
        if (fault := self._fault("update_batch")) not in ("fine", "lost_after"):
            raise _error(fault)
        found = self._over(batch)
        if ts := batch.place.ts or found:
            self._keep(ts, batch)
        if fault == "lost_after":
            raise UnavailableError("redrawn, but the answer got lost")

    def _over(self, batch: Overview) -> str | None:
        shown: dict[str, Overview] = {**self.batches, **self.digests}
        return next((ts for ts, b in shown.items() if _key(b) == _key(batch)), None)

    def _keep(self, ts: str, batch: Overview) -> None:
        if isinstance(batch, DigestCard):
            self.digests[ts] = batch
        else:
            self.batches[ts] = batch

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


def _key(batch: Overview) -> tuple[str, int]:
    return (batch.name, 0) if isinstance(batch, DigestCard) else (batch.run_id, batch.turn)


def _error(fault: str) -> Exception:
    return {
        "busy": UnavailableError("rate limited", retry_after=2.0),
        "lost": UncertainError("the connection broke"),
        "refused": RejectedError("not in that channel", code="channel_not_found"),
        "deleted": RejectedError("the message was deleted", code="message_not_found"),
        "gone": RejectedError("there is no such thread", code="thread_not_found"),
        "odd": UnfamiliarError("Slack refused (an_error_of_next_year)", code="an_error_of_next_year"),
    }[fault]
