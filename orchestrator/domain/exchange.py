"""What goes to Gemini and what is read there, in our own words."""

from collections.abc import Mapping

from orchestrator.domain.model import Recipe
from orchestrator.domain.plain import JsonObject
from orchestrator.domain.sources import Source
from orchestrator.domain.values import Value, field


class Correlation(Value):
    """What we sent along with a create, and find again on the interaction."""

    run: str
    turn: int
    attempt: int


class FunctionCall(Value):
    """A function call as the model asked for it. `arguments` is None when they were not an object."""

    id: str
    name: str
    arguments: JsonObject | None


class Snapshot(Value):
    """One reading of an interaction with our own key; the only truth about it.

    `calls` are those without a function result. `usage` holds total counts by name, `sources` the
    pages its text cites. `job` is the long job that it is, by the id sent along, and `job_attempt` which
    of its starts made it; empty and 0 for a turn.
    """

    interaction_id: str
    status: str
    calls: tuple[FunctionCall, ...] = ()
    output: str = ""
    usage: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    previous_id: str | None = None
    correlation: Correlation | None = None
    continuation: str | None = None
    environment: str | None = None
    sources: tuple[Source, ...] = ()
    job: str = ""
    job_attempt: int = 0


class FunctionResult(Value):
    """One settled call as it goes back to Gemini; `result` as in `Outcome`."""

    call_id: str
    name: str
    result: str | JsonObject | list[JsonObject]
    is_error: bool = False


class CreateRequest(Value):
    """Everything one create says; nothing is carried over between turns, so all of it each time.

    `input` is the caller's text on the first turn, the function results on later ones, and what a
    person said about a plan after that.
    `functions` are the declared tools as Gemini takes them (`type: function`).
    """

    recipe: Recipe
    correlation: Correlation
    input: str | tuple[FunctionResult, ...]
    functions: tuple[JsonObject, ...] = ()
    previous_id: str | None = None
    continuation: str | None = None
    planning: bool | None = None
    environment: str | None = None
