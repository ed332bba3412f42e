"""What the engine asks of the world. `app.py` hands it the real ones, tests small ones of their own.

Every method raises only the classes of `errors.py`: `UnavailableError` (nothing happened),
`UncertainError` (it may have), `RejectedError` (final).
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.domain.model import (
    CallContext,
    Card,
    CreateRequest,
    Finding,
    FunctionCall,
    JsonObject,
    Outcome,
    Recipe,
    Snapshot,
)


class GeminiPort(Protocol):
    """The Interactions API."""

    async def create(self, request: CreateRequest) -> Snapshot:
        """Start or continue an interaction in the background; one request on the wire, never repeated."""
        ...

    async def fetch(self, interaction_id: str) -> Snapshot:
        """Read it. Raises `RejectedError` with code `not_found` where Gemini has none."""
        ...

    async def cancel(self, interaction_id: str) -> Snapshot | None:
        """Stop it if it runs; what it is afterwards, or None where Gemini has none."""
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

    async def whisper(self, *, channel: str, user: str, text: str, response_url: str = "") -> None:
        """Tell one person something only they see. Best effort: a whisper that fails is logged."""
        ...


class ToolkitPort(Protocol):
    """The registered tools and the policy over them."""

    def declarations(self, names: Sequence[str]) -> tuple[JsonObject, ...]:
        """Those tools as Gemini takes them; one that is not there any more is left out."""
        ...

    def find(self, recipe: Recipe, call: FunctionCall) -> Finding:
        """Validate the arguments and apply the policy; never raises on what a model wrote."""
        ...

    def describe(self, tool: str) -> str:
        """One line about the tool for the person who is asked; empty if it is not known."""
        ...

    async def execute(
        self, tool: str, arguments: JsonObject, context: CallContext, cancelled: asyncio.Event
    ) -> Outcome:
        """Run it, time-boxed; one that was cancelled before it began is not begun.

        Raises:
            UncertainError: Nobody can say whether it took effect.
            UnavailableError: Nothing was started; try again.
        """
        ...


Clock = Callable[[], datetime]
"""Wall-clock time, aware and in UTC."""
