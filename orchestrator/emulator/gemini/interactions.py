"""Interactions and how they move.

    create ─┬─▶ queued ──▶ in_progress ──(think time)──▶ requires_action
            └────────────────────▲ │                     completed, failed, incomplete, ...
                                 │ └──(cancel)──▶ cancelled
    an odd status may go on by itself (`then`); `requires_action` never does: only a new create
    with its results goes on, and that is a new interaction.

One event loop runs all of this and nothing in here awaits between a check and what follows from it.
"""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from orchestrator.emulator.gemini.agents import Environments, plans
from orchestrator.emulator.gemini.clock import Cancellable, Clock, Job
from orchestrator.emulator.gemini.errors import invalid, not_found, precondition
from orchestrator.emulator.gemini.ids import Ids
from orchestrator.emulator.gemini.scenarios import Scenarios
from orchestrator.emulator.gemini.settings import EmulatorSettings
from orchestrator.emulator.gemini.story import Result, Script, Story, Turn
from orchestrator.emulator.gemini.validation import CreateRequest

Json = dict[str, Any]
RUNNING: Final = ("queued", "in_progress")
CONTINUABLE: Final = ("completed", "requires_action")
BYTES_PER_TOKEN: Final = 4
DEFAULT_ERROR: Final = {"code": "api_error", "message": "The scripted run failed."}


@dataclass(eq=False)
class Interaction:
    """One interaction. `steps` is its whole timeline, its input first; `past` holds earlier views.

    `films` are the bytes that a GET shows in place of a URI.
    """

    id: str
    root: str
    project: str
    request: CreateRequest
    parent: "Interaction | None"
    script: Script
    number: int
    created: datetime
    updated: datetime
    status: str = "in_progress"
    steps: list[Any] = field(default_factory=list)
    errors: list[Json] = field(default_factory=list)
    usage: Json | None = None
    environment: str | None = None
    children: int = 0
    gone: bool = False
    past: list[Json] = field(default_factory=list)
    job: Cancellable | None = None
    finish: Job | None = None
    films: dict[str, bytes] = field(default_factory=dict)
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pending(self) -> set[str]:
        """Ids of the calls that want a result."""
        return {call["id"] for call in _calls(self) if isinstance(call.get("id"), str)}

    def view(self, *, timeline: bool = True) -> Json:
        """The resource as JSON. A create's answer (`timeline=False`) holds only what the model made."""
        body = self.request.body
        echoed = ("model", "agent", "previous_interaction_id", "webhook_config")
        shown = self.steps if timeline else self.steps[len(self.request.steps) :]
        view: Json = {"id": self.id, "object": "interaction", "status": self.status}
        view |= {key: body[key] for key in echoed if key in body}
        view |= {"created": instant(self.created), "updated": instant(self.updated)}
        view["service_tier"] = body.get("service_tier", "standard")
        if self.environment is not None:
            view["environment_id"] = self.environment
        if shown:
            view["steps"] = [_inlined(step, self.films) for step in shown] if timeline else list(shown)
        if self.usage is not None:
            view["usage"] = self.usage
        if self.errors:
            view["errors"] = self.errors
        return view

    def move(self, status: str, now: datetime) -> None:
        """Change the status, keeping what a lagging read would still show."""
        self.past.append(self.view())
        self.status, self.updated = status, now


class Interactions:
    """Every interaction of the emulator.

    Args:
        emit: Called with an interaction that came to rest and the event type its turn names, if any.
        film: Makes the contents of a turn's `video`, and puts into `films` what a GET is to show inline.
    """

    def __init__(
        self,
        settings: EmulatorSettings,
        clock: Clock,
        ids: Ids,
        scenarios: Scenarios,
        emit: Callable[[Interaction, str | None], None],
        film: Callable[[Interaction, Json], list[Json]],
    ) -> None:
        self._settings, self._clock, self._ids = settings, clock, ids
        self._scenarios, self._emit, self._film = scenarios, emit, film
        self._all: dict[str, Interaction] = {}
        self._environments = Environments(ids, settings.environment_seconds)

    @property
    def forks(self) -> dict[str, int]:
        """Per interaction that was continued more than once: how many times too many."""
        return {i.id: i.children - 1 for i in self._all.values() if i.children > 1}

    def all(self) -> list[Interaction]:
        """Every interaction taken, deleted ones too, oldest first."""
        return list(self._all.values())

    def create(self, project: str, request: CreateRequest) -> Interaction:
        """Take a request and set its turn going.

        Raises:
            ApiError: 404 for an unknown previous interaction or environment, 400 when it cannot be
                continued like this.
        """
        parent = self._continued(project, request)
        environment = self._environments.enter(project, request.body, self._clock.now())
        story = self._story(request, parent)
        script, number = self._script(request, parent, story)
        turn = script.turn(number, story)
        root, now = parent.root if parent else self._ids.part(), self._clock.now()
        name = self._ids.interaction(root)
        made = Interaction(name, root, project, request, parent, script, number, created=now, updated=now)
        made.steps, made.environment = list(request.steps), environment
        self._all[made.id] = made
        if parent is not None:
            parent.children += 1
        self._begin(made, turn, refused=any(result.is_error for result in story.fresh))
        return made

    def get(self, project: str, name: str) -> Interaction:
        """A stored interaction of this project.

        Raises:
            ApiError: 404 when it is unknown, deleted, too old or another project's.
        """
        found = self._all.get(name)
        if found is None or found.project != project or self._is_gone(found):
            raise not_found("Interaction", name)
        return found

    def cancel(self, project: str, name: str) -> Interaction:
        """Stop a background interaction that still runs.

        Raises:
            ApiError: 404 as for `get`; 400 when it does not run.
        """
        found = self.get(project, name)
        if not found.request.background or found.job is None:
            raise precondition(f"Interaction '{name}' is {found.status} and cannot be cancelled.")
        self._stop(found)
        found.move("cancelled", self._clock.now())
        found.settled.set()
        return found

    def delete(self, project: str, name: str) -> None:
        """Forget an interaction; what continued it can no longer be continued.

        Raises:
            ApiError: 404 as for `get`.
        """
        found = self.get(project, name)
        self._stop(found)
        found.gone = True

    def force(self, name: str, turn: Turn) -> Interaction:
        """Bring any interaction to where `turn` ends, whatever it was doing.

        Raises:
            KeyError: No such interaction.
        """
        found = self._all[name]
        self._stop(found)
        self._settle(found, turn, refused=False)
        return found

    async def hasten(self, interaction: Interaction) -> None:
        """End the turn now instead of after its think time."""
        if interaction.status in RUNNING and interaction.finish is not None:
            self._stop(interaction)
            await interaction.finish()

    def _is_gone(self, interaction: Interaction) -> bool:
        age = self._clock.now() - interaction.created
        forgotten = not interaction.request.store and interaction.settled.is_set()
        return interaction.gone or forgotten or age > timedelta(seconds=self._settings.retention_seconds)

    def _stop(self, interaction: Interaction) -> None:
        if interaction.job is not None:
            interaction.job.cancel()
            interaction.job = None

    def _continued(self, project: str, request: CreateRequest) -> Interaction | None:
        if request.previous is None:
            if request.results:
                raise invalid("function_result needs previous_interaction_id.")
            return None
        parent = self.get(project, request.previous)
        for ancestor in _line(parent):
            if ancestor.gone:
                raise not_found("Interaction", ancestor.id)
        _check_results(parent, request)
        return parent

    def _script(self, request: CreateRequest, parent: Interaction | None, story: Story) -> tuple[Script, int]:
        """A conversation keeps its script while that has turns or waits for results; else it begins anew."""
        if parent is not None:
            number = parent.number + 1
            if parent.status == "requires_action" or parent.script.has(number):
                return parent.script, number
        return self._scenarios.choose(request.body, story), 0

    def _story(self, request: CreateRequest, parent: Interaction | None) -> Story:
        line = _line(parent)[::-1] if parent else []
        names = {call.get("id"): call.get("name") for step in line for call in _calls(step)}
        since = _since_user_spoke(line, request)
        handed = [r for i in since for r in i.request.results] + list(request.results)
        results = tuple(_result(step, names) for step in handed)
        return Story(
            messages=tuple(text for text in (*(i.request.text for i in line), request.text) if text),
            tools={function["name"]: function for function in request.functions},
            random=self._ids.random,
            called=tuple(str(call.get("name")) for i in since for call in _calls(i)),
            results=results,
            fresh=results[len(results) - len(request.results) :],
            metadata=request.metadata,
            planning=plans(request.body),
            plans=sum(plans(i.request.body) for i in line),
        )

    def _begin(self, made: Interaction, turn: Turn, *, refused: bool) -> None:
        usual = self._settings.think_seconds if turn.video is None else self._settings.video_seconds
        think = usual if turn.think is None else turn.think

        async def finish() -> None:
            self._settle(made, turn, refused=refused)

        async def start() -> None:
            made.move("in_progress", self._clock.now())
            made.job = self._clock.schedule(think, finish)

        made.finish = finish
        if turn.immediate:
            self._settle(made, turn, refused=refused)
        elif turn.queued is not None:
            made.status = "queued"
            made.job = self._clock.schedule(turn.queued, start)
        else:
            made.job = self._clock.schedule(think, finish)

    def _settle(self, interaction: Interaction, turn: Turn, *, refused: bool) -> None:
        made = self._steps(turn, refused=refused)
        interaction.move(turn.status or ("requires_action" if turn.calls else "completed"), self._clock.now())
        if turn.video is not None:
            made.append({"type": "model_output", "content": self._film(interaction, turn.video)})
        interaction.steps = [*interaction.steps, *made]
        interaction.errors = list(turn.errors) or ([DEFAULT_ERROR] if turn.status == "failed" else [])
        interaction.usage = turn.usage or _usage(interaction, made)
        interaction.job = None
        self._emit(interaction, turn.event)
        if turn.then is None:
            interaction.settled.set()
        else:
            self._follow(interaction, turn.then, refused=refused)

    def _follow(self, interaction: Interaction, turn: Turn, *, refused: bool) -> None:
        async def go_on() -> None:
            self._settle(interaction, turn, refused=refused)

        think = self._settings.think_seconds if turn.think is None else turn.think
        interaction.job = self._clock.schedule(think, go_on)

    def _steps(self, turn: Turn, *, refused: bool) -> list[Any]:
        steps: list[Any] = []
        if turn.thought is not None:
            steps.append({"type": "thought", "signature": self._ids.signature()})
        if turn.thought:
            steps[-1]["summary"] = [{"type": "text", "text": turn.thought}]
        steps += turn.steps
        for call in turn.calls:
            signed = {"id": self._ids.call(), "signature": self._ids.signature()}
            steps.append({"type": "function_call", **signed, **call})
        text = turn.text_refused if refused and turn.text_refused is not None else turn.text
        if text is not None:
            cited = {"annotations": list(turn.annotations)} if turn.annotations else {}
            steps.append({"type": "model_output", "content": [{"type": "text", "text": text, **cited}]})
        return steps


def instant(when: datetime) -> str:
    """An instant as Gemini writes it, in whole seconds."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _inlined(step: Any, films: dict[str, bytes]) -> Any:
    """A step with the bytes of its films in place of their URIs."""
    content = step.get("content") if films and isinstance(step, dict) else None
    if not isinstance(content, list):
        return step
    return {**step, "content": [_shown(block, films) for block in content]}


def _shown(block: Any, films: dict[str, bytes]) -> Any:
    film = films.get(str(block.get("uri"))) if isinstance(block, dict) else None
    if film is None:
        return block
    kept = {key: value for key, value in block.items() if key != "uri"}
    return {**kept, "data": base64.b64encode(film).decode()}


def _line(interaction: Interaction | None) -> list[Interaction]:
    """An interaction and those it continues, newest first."""
    line = []
    while interaction is not None:
        line.append(interaction)
        interaction = interaction.parent
    return line


def _check_results(parent: Interaction, request: CreateRequest) -> None:
    if parent.status not in CONTINUABLE:
        raise precondition(f"Interaction '{parent.id}' is {parent.status} and cannot be continued.")
    answered = [step["call_id"] for step in request.results]
    pending = parent.pending if parent.status == "requires_action" else set()
    for call_id in answered:
        if answered.count(call_id) > 1:
            raise invalid(f"More than one function_result for call '{call_id}'.")
        if call_id not in pending:
            raise invalid(f"function_result for '{call_id}', which is no pending call.")
    if len(answered) != len(pending):
        missing = ", ".join(sorted(pending - set(answered)))
        raise invalid(f"Every function call needs a function_result; missing: {missing}.")
    for step in request.results:
        named = [c.get("name") for c in _calls(parent) if c.get("id") == step["call_id"]]
        if "name" in step and all(isinstance(n, str) for n in named) and step["name"] not in named:
            raise invalid(f"function_result for '{step['call_id']}' has the name of another function.")


def _calls(interaction: Interaction) -> list[Json]:
    own = interaction.steps[len(interaction.request.steps) :]
    return [s for s in own if isinstance(s, dict) and s.get("type") == "function_call"]


def _since_user_spoke(line: list[Interaction], request: CreateRequest) -> list[Interaction]:
    """The tail of a conversation (oldest first) in which the model has been working on one request."""
    if request.text and not request.results:
        return []
    spoke = [n for n, i in enumerate(line) if i.request.text and not i.request.results]
    return line[spoke[-1] :] if spoke else line


def _result(step: Json, names: dict[Any, Any]) -> Result:
    name = names.get(step["call_id"]) or step.get("name") or ""
    return Result(step["call_id"], str(name), step["result"], step.get("is_error", False))


def _usage(interaction: Interaction, made: list[Any]) -> Json:
    read = len(str(interaction.request.body)) // BYTES_PER_TOKEN
    written = len(str(made)) // BYTES_PER_TOKEN
    thought = sum(isinstance(step, dict) and step.get("type") == "thought" for step in made) * 30
    usage = {"total_input_tokens": read, "total_output_tokens": written, "total_thought_tokens": thought}
    usage |= {"total_cached_tokens": 0, "total_tool_use_tokens": 0}
    return {**usage, "total_tokens": read + written + thought}
