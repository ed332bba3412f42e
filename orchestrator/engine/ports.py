"""What the engine asks of the world. `app.py` hands it the real ones, tests small ones of their own.

Every method raises only the classes of `errors.py`: `UnavailableError` (nothing happened),
`UncertainError` (it may have), `RejectedError` (final).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.domain.assessment import CallContext, Finding
from orchestrator.domain.cards import Card, Overview, Picture
from orchestrator.domain.consent import Place, Preview, Terms
from orchestrator.domain.exchange import CreateRequest, FunctionCall, Snapshot
from orchestrator.domain.inquiries import Telling
from orchestrator.domain.jobs import Harvest, JobKind, JobOrder, JobReading, StoredFile, Waiting
from orchestrator.domain.model import Outcome, Recipe
from orchestrator.domain.plain import JsonObject


class GeminiPort(Protocol):
    """The Interactions API."""

    async def create(self, request: CreateRequest) -> Snapshot:
        """Start or continue an interaction in the background; one request on the wire, never repeated."""
        ...

    async def fetch(self, interaction_id: str) -> Snapshot:
        """Read it.

        Raises:
            RejectedError: `not_found` where Gemini has none, `too_large` where it tells more than is read.
        """
        ...

    async def cancel(self, interaction_id: str) -> Snapshot | None:
        """Stop it if it runs; what it is afterwards, or None where Gemini has none."""
        ...


class JobsPort(Protocol):
    """Gemini's long jobs: videos and batches."""

    async def start(self, order: JobOrder) -> JobReading:
        """Begin it: exactly one request on the wire that can begin anything.

        Raises:
            UnavailableError: Nothing began.
            UncertainError: It may have begun.
            RejectedError: Final.
        """
        ...

    async def fetch(self, kind: JobKind, remote: str) -> JobReading:
        """Read it. Raises `RejectedError` with code `not_found` where Gemini has none."""
        ...

    async def find(self, order: JobOrder) -> tuple[JobReading, ...]:
        """Look for one whose start had no answer: what there is of it, of any attempt.

        Empty where there is none, or it cannot be looked for.
        """
        ...

    async def cancel(self, kind: JobKind, remote: str) -> None:
        """Stop it where that can be done: an operation of Veo's cannot."""
        ...

    async def harvest(self, order: JobOrder, remote: str) -> Harvest:
        """Copy what it made into the storage. May be repeated: the same names, nothing partial is left."""
        ...


class SlackPort(Protocol):
    """Where people see approvals. A message is a picture of a row."""

    async def post(self, card: Card, *, seen_before: bool) -> tuple[str, str]:
        """Show a request once; returns channel id and ts.

        `seen_before` says an earlier try had no answer: look for its message before posting.
        """
        ...

    async def update(self, card: Card) -> None:
        """Redraw the message of `card.approval` from what is true now; look for it if `ts` is not known."""
        ...

    async def copy(self, card: Card, person: str, *, seen_before: bool) -> Place:
        """Show a request to one person among their direct messages, once; as `post`."""
        ...

    async def find_copy(self, card: Card, person: str) -> Place | None:
        """Where a copy is whose post had no answer; None where there is none, or it cannot be looked for."""
        ...

    async def members(self, groups: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Who is in those user groups, as far as it can be read."""
        ...

    async def remind(
        self, card: Card, *, what: str, last: bool, seen_before: bool, others: Sequence[Card] = ()
    ) -> None:
        """Tell those who may decide, under the message of `card.approval`, that it still waits.

        `what` is the number of a reminder, or a notice of `domain.deadlines`; `last` has it said in the
        channel too. `seen_before` says an earlier try had no answer: look for it before saying it again.
        """
        ...

    async def ask_back(self, card: Card, telling: Telling, *, seen_before: bool) -> Place:
        """Say once what was asked back about a request, or that it was answered.

        `seen_before` as in `post`.
        """
        ...

    async def find_asked_back(self, card: Card, telling: Telling) -> Place | None:
        """Where such a message is whose post had no answer; None as in `find_copy`."""
        ...

    async def redraw_asked_back(self, card: Card, number: int, place: Place) -> None:
        """Redraw the message there with the question of that number."""
        ...

    async def post_batch(self, batch: Overview, *, seen_before: bool) -> Place:
        """Show the message over several questions, once; where it is. `seen_before` as in `post`."""
        ...

    async def update_batch(self, batch: Overview) -> None:
        """Redraw it; look for it if its `ts` is not known."""
        ...

    async def send_picture(self, picture: Picture) -> str:
        """Leave it with Slack, where nobody sees it yet; Slack's name for it. Safe to repeat."""
        ...

    async def show_pictures(self, card: Card, files: Sequence[tuple[str, str]], *, seen_before: bool) -> None:
        """Show those under the message of `card.approval`, each by its title; `seen_before` as in `post`."""
        ...

    async def whisper(self, *, channel: str, user: str, text: str, response_url: str = "") -> None:
        """Tell one person something only they see. Best effort: a whisper that fails is logged."""
        ...


class PicturesPort(Protocol):
    """Who makes pictures of stored files."""

    async def of(self, file: StoredFile) -> bytes | None:
        """A small JPEG or PNG of it; None where nothing makes one of such a file.

        Raises `RejectedError` where it cannot be made, its text for people.
        """
        ...


class ToolkitPort(Protocol):
    """The registered tools and the policy over them."""

    def declarations(self, names: Sequence[str]) -> tuple[JsonObject, ...]:
        """Those tools as Gemini takes them; one that is not there any more is left out."""
        ...

    def find(self, recipe: Recipe, call: FunctionCall) -> Finding:
        """Validate the arguments and apply the policy; never raises on what a model wrote."""
        ...

    def terms(self, recipe: Recipe, tool: str) -> Terms | None:
        """Under which people would be asked about that tool now; None if it is not known."""
        ...

    def describe(self, tool: str) -> str:
        """One line about the tool for the person who is asked; empty if it is not known."""
        ...

    async def preview(self, tool: str, arguments: JsonObject, context: CallContext) -> Preview:
        """What a call would do, of a tool whose finding says `previews`; nothing happens by it.

        Where that cannot be worked out, `trouble` says why. Raises `UnavailableError`: nothing was started.
        """
        ...

    async def execute(
        self, tool: str, arguments: JsonObject, context: CallContext, cancelled: asyncio.Event
    ) -> Outcome | Waiting:
        """Run it, time-boxed; one that was cancelled before it began is not begun.

        What it gives back may be jobs its call then waits for.

        Raises:
            UncertainError: Nobody can say whether it took effect.
            UnavailableError: Nothing was started; try again.
        """
        ...


Clock = Callable[[], datetime]
"""Wall-clock time, aware and in UTC."""
