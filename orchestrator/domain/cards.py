"""What people are shown of a question: pictures of the rows, drawn anew each time."""

from datetime import datetime

from orchestrator.domain.consent import Actor, Approval, Place, Verdict
from orchestrator.domain.edits import Edited
from orchestrator.domain.model import RunStatus, ToolCall
from orchestrator.domain.values import Value


class Card(Value):
    """What a person is shown about one approval: a picture of the rows, drawn anew each time."""

    approval: Approval
    call: ToolCall
    run_id: str
    workflow: str
    requester: Actor
    run_status: RunStatus
    run_reason: str = ""
    asked_before: tuple[str, ...] = ()  # as in the run's recipe
    description: str = ""  # the tool's own summary, from its docstring
    link: str = ""  # our page about the run, if we have a public address
    progress: str = ""  # how far the turn's other calls are
    forgotten_at: datetime | None = None  # until when Gemini keeps what waits for the answer
    taken_up_as: str = ""  # the run that took this one's work up, of a question about that
    taken_up_link: str = ""  # our page about it
    rejected_before: Verdict | None = None  # the newest no to the same call of this run
    rejections: int = 0  # how many there were
    thread: str = ""  # the message it stands under, by its ts; empty for one that stands alone
    file_links: tuple[str, ...] = ()  # our pages of the files to choose among, if we have a public address
    no_pictures: str = ""  # in a sentence, of which of them no picture could be shown under it, and why
    edited: Edited | None = None  # that people changed the arguments, and what they were
    replaced: bool = False  # another question took its place; the call is as this one was asked with it
    replaced_by: tuple[Place, ...] = ()  # where that one stands, the channel first
    replaced_link: str = ""  # to it, in one of these places
    shown_link: str = ""  # to its own message

    @property
    def asked_for_it(self) -> tuple[str, ...]:
        """As of the run."""
        return self.requester.id, *self.asked_before


class Picture(Value):
    """Of one of the files people choose among: its place, from 1, and a small JPEG, or a PNG."""

    number: int
    content: bytes


class BatchCard(Value):
    """The message over the questions of one turn: a picture of the rows, drawn anew each time.

    `cards` are its questions in the order of the calls, `preparing` the tools whose questions are still
    being worked out. `place` has no `ts` before it is posted. `together` says that those that are open may
    be answered in one go.
    """

    run_id: str
    turn: int
    workflow: str
    requester: Actor
    run_status: RunStatus
    place: Place
    asked_at: datetime
    cards: tuple[Card, ...]
    preparing: tuple[str, ...] = ()
    together: bool = False
    link: str = ""


class DigestCard(Value):
    """The message over the questions of unattended runs: a picture of the rows, drawn anew each time.

    `name` is that of `domain.collecting`. `cards` are its questions in the order they were asked in, `more`
    how many others there are. `place` has no `ts` before it is posted; `asked_at` is when it was due.
    """

    name: str
    place: Place
    asked_at: datetime
    cards: tuple[Card, ...]
    more: int = 0


Overview = BatchCard | DigestCard
"""A message over several questions."""
