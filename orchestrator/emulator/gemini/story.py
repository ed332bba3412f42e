"""What a script knows when it writes a turn, and what it writes. Values only, no I/O."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from orchestrator.emulator.gemini.invent import reference

Json = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """A function result as it was handed in, with the name of the call it answers."""

    call_id: str
    name: str
    value: Any
    is_error: bool = False

    @property
    def text(self) -> str:
        """The result as a person would read it."""
        if isinstance(self.value, list):
            return "\n".join(str(block.get("text", "")) for block in self.value if isinstance(block, dict))
        return self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False)

    @property
    def fields(self) -> Json:
        """The result as an object: itself or what its text parses to, out of a `{"result": ...}`; or `{}`."""
        value = self.value if isinstance(self.value, dict) else _parsed(self.text)
        if isinstance(value, dict) and set(value) == {"result"}:
            inner = value["result"]
            value = inner if isinstance(inner, dict) else _parsed(inner) or value
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Story:
    """One conversation, as far as it has come.

    Args:
        messages: What the user said, in the whole chain, oldest first.
        tools: Function declarations the model may call in this turn, by name.
        called: Names of the functions called since the user last spoke, in order.
        results: Every result handed in since the user last spoke, oldest first.
        fresh: Those of this request.
        metadata: The request's `user_metadata`.
        planning: The request asks an agent for a plan, not for the work.
        plans: How many plans the chain before it has asked for.
    """

    messages: tuple[str, ...]
    tools: Mapping[str, Json]
    random: random.Random
    called: tuple[str, ...] = ()
    results: tuple[Result, ...] = ()
    fresh: tuple[Result, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    planning: bool = False
    plans: int = 0

    @property
    def text(self) -> str:
        """The user's newest message; empty when there is none."""
        return self.messages[-1] if self.messages else ""

    @property
    def said(self) -> str:
        """All the user's messages, newest first, so that a search finds the newest mention."""
        return "\n".join(reversed(self.messages))

    @property
    def reference(self) -> str:
        """The order number or the like that the user named last; empty when there is none."""
        return reference(self.said) or ""

    def last(self, name: str) -> Result | None:
        """The newest result of a function."""
        return next((result for result in reversed(self.results) if result.name == name), None)


@dataclass(frozen=True)
class Turn:
    """What the model does between one create and the next.

    Args:
        think: Seconds until it is done; None takes the emulator's setting.
        queued: Seconds it waits as `queued` first; None skips that.
        immediate: It is done before the create is answered.
        thought: Summary of the thought step; None leaves the step out.
        calls: Function call steps: `name`, `arguments`, `id`, each of which may be missing or junk.
        text: What it says; with `text_refused` for when one of the results was an error.
        annotations: Of that text: `url_citation`s with `url`, `title` and the bytes they are about.
        video: A film it makes: `samples`, `seconds` and `bytes`, each of which may be missing.
        steps: Further steps, put in as they are.
        status: Where it ends; None is `requires_action` with calls, `completed` without.
        errors: Of a failed turn.
        event: Event type sent instead of the status's own; `""` sends none.
        usage: Token counts that replace the estimated ones.
        then: What follows by itself, such as `completed` after an odd status.
    """

    think: float | None = None
    queued: float | None = None
    immediate: bool = False
    thought: str | None = ""
    calls: tuple[Json, ...] = ()
    text: str | None = None
    text_refused: str | None = None
    annotations: tuple[Json, ...] = ()
    video: Json | None = None
    steps: tuple[Any, ...] = ()
    status: str | None = None
    errors: tuple[Json, ...] = ()
    event: str | None = None
    usage: Json | None = None
    then: "Turn | None" = None


class Script(Protocol):
    """One side of a conversation, the model's."""

    @property
    def name(self) -> str:
        """What stats call it."""

    def has(self, number: int) -> bool:
        """Is there a turn of this number, counted from 0?"""

    def turn(self, number: int, story: Story) -> Turn:
        """The turn of this number."""


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return None
